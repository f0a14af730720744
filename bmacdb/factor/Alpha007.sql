-- Alpha007: reversal of the move of seven bars where turnover is high.
-- formula: ((adv20 < volume) ? ((-1 * ts_rank(abs(delta(close, 7)), 60)) * sign(delta(close, 7))) : (-1 * 1))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
avg(volume) OVER last_20 AS adv20,
delta(close, 7) AS move,
CASE WHEN adv20 < volume THEN -ts_rank(abs(move), 60) / 60 * sign(move) ELSE -1 END
