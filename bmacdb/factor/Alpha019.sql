-- Alpha019: reversal of the week where the long trend is strong.
-- formula: ((-1 * sign(((close - delay(close, 7)) + delta(close, 7)))) * (1 + rank((1 + sum(returns, 250)))))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
close / delay(close, 1) - 1 AS change,
delta(close, 7) AS move,
-sign(move + move) * (1 + cs_rank(1 + sum(change) OVER last_250))
