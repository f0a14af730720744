-- Alpha030: few rises in a row, weighted by the share of recent volume.
-- formula: (((1.0 - rank(((sign((close - delay(close, 1))) + sign((delay(close, 1) - delay(close, 2)))) + sign((delay(close, 2) - delay(close, 3)))))) * sum(volume, 5)) / sum(volume, 20))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
sign(delta(close, 1)) AS direction,
direction + delay(direction, 1) + delay(direction, 2) AS rises,
(1 - cs_rank(rises)) * sum(volume) OVER last_5 / sum(volume) OVER last_20
