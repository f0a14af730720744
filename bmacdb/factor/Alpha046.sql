-- Alpha046: by the bend of the last twenty bars: -1, 1, or reversal of the last change.
-- formula: ((0.25 < (((delay(close, 20) - delay(close, 10)) / 10) - ((delay(close, 10) - close) / 10))) ? (-1 * 1) : (((((delay(close, 20) - delay(close, 10)) / 10) - ((delay(close, 10) - close) / 10)) < 0) ? 1 : ((-1 * 1) * (close - delay(close, 1)))))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
(delay(close, 20) - delay(close, 10)) / 10 - (delay(close, 10) - close) / 10 AS bend,
CASE WHEN bend > 0.25 THEN -1 WHEN bend < 0 THEN 1 ELSE -delta(close, 1) END
