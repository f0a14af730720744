-- Alpha065: -1 where correlation with turnover ranks lower than the open over its low.
-- formula: ((rank(correlation(((open * 0.00817205) + (vwap * (1 - 0.00817205))), sum(adv60, 8.6911), 6.40374)) < rank((open - ts_min(open, 13.635)))) * -1)
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
quote_volume / nullif(volume, 0) AS vwap,
avg(volume) OVER last_60 AS adv60,
correlation(open * 0.00817205 + vwap * (1 - 0.00817205), sum(adv60) OVER last_8, 6) AS together,
-(cs_rank(together) < cs_rank(open - min(open) OVER last_13))::DOUBLE
