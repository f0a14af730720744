-- Alpha057: close above the average price, weighted by how long ago the high was.
-- formula: (0 - (1 * ((close - vwap) / decay_linear(rank(ts_argmax(close, 30)), 2))))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
quote_volume / nullif(volume, 0) AS vwap,
-(close - vwap) / decay_linear(cs_rank(ts_argmax(close, 30)), 2)
