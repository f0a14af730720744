-- Alpha050: inverse of the highest rank of the correlation of the ranks of volume and average price.
-- formula: (-1 * ts_max(rank(correlation(rank(volume), rank(vwap), 5)), 5))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
quote_volume / nullif(volume, 0) AS vwap,
-max(cs_rank(correlation(cs_rank(volume), cs_rank(vwap), 5))) OVER last_5
