-- Alpha062: -1 where correlation with turnover ranks lower than low opens.
-- formula: ((rank(correlation(vwap, sum(adv20, 22.4101), 9.91009)) < rank(((rank(open) + rank(open)) < (rank(((high + low) / 2)) + rank(high))))) * -1)
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
quote_volume / nullif(volume, 0) AS vwap,
avg(volume) OVER last_20 AS adv20,
(cs_rank(open) + cs_rank(open) < cs_rank((high + low) / 2) + cs_rank(high))::DOUBLE AS low_open,
-(cs_rank(correlation(vwap, sum(adv20) OVER last_22, 9)) < cs_rank(low_open))::DOUBLE
