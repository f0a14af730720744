-- Alpha009: follows a move of five bars in one direction, else reverses the last change.
-- formula: ((0 < ts_min(delta(close, 1), 5)) ? delta(close, 1) : ((ts_max(delta(close, 1), 5) < 0) ? delta(close, 1) : (-1 * delta(close, 1))))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
delta(close, 1) AS change,
CASE WHEN min(change) OVER last_5 > 0 OR max(change) OVER last_5 < 0 THEN change ELSE -change END
