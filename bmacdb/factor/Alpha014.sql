-- Alpha014: slowing change, weighted by the correlation of open and volume.
-- formula: ((-1 * rank(delta(returns, 3))) * correlation(open, volume, 10))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
close / delay(close, 1) - 1 AS change,
-cs_rank(delta(change, 3)) * correlation(open, volume, 10)
