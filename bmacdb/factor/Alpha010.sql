-- Alpha010: rank of: follows a move of four bars in one direction, else reverses the last change.
-- formula: rank(((0 < ts_min(delta(close, 1), 4)) ? delta(close, 1) : ((ts_max(delta(close, 1), 4) < 0) ? delta(close, 1) : (-1 * delta(close, 1)))))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
delta(close, 1) AS change,
CASE WHEN min(change) OVER last_4 > 0 OR max(change) OVER last_4 < 0 THEN change ELSE -change END AS trend,
cs_rank(trend)
