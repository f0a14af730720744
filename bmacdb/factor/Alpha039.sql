-- Alpha039: reversal of seven bars with fading volume, where the long trend is strong.
-- formula: ((-1 * rank((delta(close, 7) * (1 - rank(decay_linear((volume / adv20), 9)))))) * (1 + rank(sum(returns, 250))))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
close / delay(close, 1) - 1 AS change,
avg(volume) OVER last_20 AS adv20,
delta(close, 7) * (1 - cs_rank(decay_linear(volume / nullif(adv20, 0), 9))) AS quiet_move,
-cs_rank(quiet_move) * (1 + cs_rank(sum(change) OVER last_250))
