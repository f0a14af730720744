-- Alpha049: 1 where the close bends down by 0.1 a bar, else reversal of the last change.
-- formula: (((((delay(close, 20) - delay(close, 10)) / 10) - ((delay(close, 10) - close) / 10)) < (-1 * 0.1)) ? 1 : ((-1 * 1) * (close - delay(close, 1))))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
(delay(close, 20) - delay(close, 10)) / 10 - (delay(close, 10) - close) / 10 AS bend,
CASE WHEN bend < -0.1 THEN 1 ELSE -delta(close, 1) END
