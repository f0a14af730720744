-- Alpha075: 1 where the correlation of average price and volume ranks lower than that of low and turnover.
-- formula: (rank(correlation(vwap, volume, 4.24304)) < rank(correlation(rank(low), rank(adv50), 12.4413)))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
quote_volume / nullif(volume, 0) AS vwap,
avg(volume) OVER last_50 AS adv50,
correlation(cs_rank(low), cs_rank(adv50), 12) AS low_turnover,
(cs_rank(correlation(vwap, volume, 4)) < cs_rank(low_turnover))::DOUBLE
