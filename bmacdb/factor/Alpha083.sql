-- Alpha083: earlier range and volume, against the range now relative to the average price over the close.
-- formula: ((rank(delay(((high - low) / (sum(close, 5) / 5)), 2)) * rank(rank(volume))) / (((high - low) / (sum(close, 5) / 5)) / (vwap - close)))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
quote_volume / nullif(volume, 0) AS vwap,
(high - low) / (sum(close) OVER last_5 / 5) AS width,
cs_rank(delay(width, 2)) * cs_rank(cs_rank(volume)) / nullif(width / nullif(vwap - close, 0), 0)
