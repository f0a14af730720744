-- Alpha074: -1 where the correlation of close and turnover ranks lower than that of price and volume.
-- formula: ((rank(correlation(close, sum(adv30, 37.4843), 15.1365)) < rank(correlation(rank(((high * 0.0261661) + (vwap * (1 - 0.0261661)))), rank(volume), 11.4791))) * -1)
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
quote_volume / nullif(volume, 0) AS vwap,
avg(volume) OVER last_30 AS adv30,
correlation(cs_rank(high * 0.0261661 + vwap * (1 - 0.0261661)), cs_rank(volume), 11) AS price_volume,
-(cs_rank(correlation(close, sum(adv30) OVER last_37, 15)) < cs_rank(price_volume))::DOUBLE
