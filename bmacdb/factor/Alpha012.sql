-- Alpha012: reversal of the last change where volume grows.
-- formula: (sign(delta(volume, 1)) * (-1 * delta(close, 1)))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
sign(delta(volume, 1)) * -delta(close, 1)
