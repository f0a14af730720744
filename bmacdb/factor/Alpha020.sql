-- Alpha020: open below the high, close and low of the bar before.
-- formula: (((-1 * rank((open - delay(high, 1)))) * rank((open - delay(close, 1)))) * rank((open - delay(low, 1))))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
open - delay(low, 1) AS over_low,
-cs_rank(open - delay(high, 1)) * cs_rank(open - delay(close, 1)) * cs_rank(over_low)
