-- Alpha081: -1 where the product of ranked correlations with turnover ranks lower than that with volume.
-- formula: ((rank(Log(product(rank((rank(correlation(vwap, sum(adv10, 49.6054), 8.47743))^4)), 14.9655))) < rank(correlation(rank(vwap), rank(volume), 5.07914))) * -1)
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
quote_volume / nullif(volume, 0) AS vwap,
avg(volume) OVER last_10 AS adv10,
ln(product(cs_rank(cs_rank(correlation(vwap, sum(adv10) OVER last_49, 8)) ** 4)) OVER last_14) AS log_chance,
-(cs_rank(log_chance) < cs_rank(correlation(cs_rank(vwap), cs_rank(volume), 5)))::DOUBLE
