-- Alpha101: body of the bar relative to its range.
-- formula: ((close - open) / ((high - low) + .001))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
(close - open) / (high - low + 0.001)
