-- Alpha024: distance from the low of 100 bars in a flat market, else reversal.
-- formula: ((((delta((sum(close, 100) / 100), 100) / delay(close, 100)) < 0.05) || ((delta((sum(close, 100) / 100), 100) / delay(close, 100)) == 0.05)) ? (-1 * (close - ts_min(close, 100))) : (-1 * delta(close, 3)))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
delta(sum(close) OVER last_100 / 100, 100) / delay(close, 100) AS growth,
CASE WHEN growth <= 0.05 THEN -(close - min(close) OVER last_100) ELSE -delta(close, 3) END
