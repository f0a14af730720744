-- Alpha037: correlation of the earlier body with the close, and the body of the bar.
-- formula: (rank(correlation(delay((open - close), 1), close, 200)) + rank((open - close)))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
cs_rank(correlation(delay(open - close, 1), close, 200)) + cs_rank(open - close)
