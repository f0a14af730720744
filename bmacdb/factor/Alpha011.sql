-- Alpha011: distance of the average price from the close, weighted by growing volume.
-- formula: ((rank(ts_max((vwap - close), 3)) + rank(ts_min((vwap - close), 3))) * rank(delta(volume, 3)))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
quote_volume / nullif(volume, 0) AS vwap,
min(vwap - close) OVER last_3 AS least,
(cs_rank(max(vwap - close) OVER last_3) + cs_rank(least)) * cs_rank(delta(volume, 3))
