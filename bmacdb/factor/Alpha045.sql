-- Alpha045: high earlier closes, correlations of close with volume and of short with long sums, reversed.
-- formula: (-1 * ((rank((sum(delay(close, 5), 20) / 20)) * correlation(close, volume, 2)) * rank(correlation(sum(close, 5), sum(close, 20), 2))))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
correlation(close, volume, 2) AS together,
correlation(sum(close) OVER last_5, sum(close) OVER last_20, 2) AS sums,
-(cs_rank(sum(delay(close, 5)) OVER last_20 / 20) * together * cs_rank(sums))
