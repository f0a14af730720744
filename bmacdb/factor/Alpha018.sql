-- Alpha018: inverse rank of the body of the bar, how it varies, and the correlation of open and close.
-- formula: (-1 * rank(((stddev(abs((close - open)), 5) + (close - open)) + correlation(close, open, 10))))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
stddev_samp(abs(close - open)) OVER last_5 + (close - open) + correlation(close, open, 10) AS body,
-cs_rank(body)
