-- Alpha094: average price over its low, to the power of its correlation with turnover, reversed.
-- formula: ((rank((vwap - ts_min(vwap, 11.5783)))^Ts_Rank(correlation(Ts_Rank(vwap, 19.6462), Ts_Rank(adv60, 4.02992), 18.0926), 2.70756)) * -1)
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
quote_volume / nullif(volume, 0) AS vwap,
avg(volume) OVER last_60 AS adv60,
correlation(ts_rank(vwap, 19) / 19, ts_rank(adv60, 4) / 4, 18) AS together,
-(cs_rank(vwap - min(vwap) OVER last_11) ** (ts_rank(together, 2) / 2))
