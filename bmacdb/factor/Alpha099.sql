-- Alpha099: -1 where the correlation of the middle with turnover ranks lower than that of low with volume.
-- formula: ((rank(correlation(sum(((high + low) / 2), 19.8975), sum(adv60, 19.8975), 8.8136)) < rank(correlation(low, volume, 6.28259))) * -1)
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
avg(volume) OVER last_60 AS adv60,
correlation(sum((high + low) / 2) OVER last_19, sum(adv60) OVER last_19, 8) AS middle_turnover,
-(cs_rank(middle_turnover) < cs_rank(correlation(low, volume, 6)))::DOUBLE
