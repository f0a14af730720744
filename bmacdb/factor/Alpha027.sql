-- Alpha027: -1 where the correlation of the ranks of volume and average price is high, else 1.
-- formula: ((0.5 < rank((sum(correlation(rank(volume), rank(vwap), 6), 2) / 2.0))) ? (-1 * 1) : 1)
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
quote_volume / nullif(volume, 0) AS vwap,
sum(correlation(cs_rank(volume), cs_rank(vwap), 6)) OVER last_2 / 2 AS mean,
CASE WHEN cs_rank(mean) > 0.5 THEN -1 ELSE 1 END
