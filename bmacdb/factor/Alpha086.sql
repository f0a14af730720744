-- Alpha086: -1 where the correlation of close and turnover ranks lower than the close over the average price.
-- formula: ((Ts_Rank(correlation(close, sum(adv20, 14.7444), 6.00049), 20.4195) < rank(((open + close) - (vwap + open)))) * -1)
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
quote_volume / nullif(volume, 0) AS vwap,
avg(volume) OVER last_20 AS adv20,
correlation(close, sum(adv20) OVER last_14, 6) AS together,
-(ts_rank(together, 20) / 20 < cs_rank(open + close - (vwap + open)))::DOUBLE
