-- Alpha023: reversal of the high where it is above its mean, else 0.
-- formula: (((sum(high, 20) / 20) < high) ? (-1 * delta(high, 2)) : 0)
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
CASE WHEN sum(high) OVER last_20 / 20 < high THEN -delta(high, 2) ELSE 0 END
