-- Alpha042: close below the average price, relative to both.
-- formula: (rank((vwap - close)) / rank((vwap + close)))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
quote_volume / nullif(volume, 0) AS vwap,
cs_rank(vwap - close) / cs_rank(vwap + close)
