-- Alpha061: 1 where the average price ranks lower over its low than its correlation with turnover.
-- formula: (rank((vwap - ts_min(vwap, 16.1219))) < rank(correlation(vwap, adv180, 17.9282)))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
quote_volume / nullif(volume, 0) AS vwap,
avg(volume) OVER last_180 AS adv180,
(cs_rank(vwap - min(vwap) OVER last_16) < cs_rank(correlation(vwap, adv180, 17)))::DOUBLE
