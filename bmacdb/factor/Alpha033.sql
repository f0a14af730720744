-- Alpha033: rank of the bar's body relative to its close.
-- formula: rank((-1 * ((1 - (open / close))^1)))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
cs_rank(-(1 - open / close))
