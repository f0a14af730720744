-- Alpha072: fading correlation of the middle with turnover against that of average price with volume.
-- formula: (rank(decay_linear(correlation(((high + low) / 2), adv40, 8.93345), 10.1519)) / rank(decay_linear(correlation(Ts_Rank(vwap, 3.72469), Ts_Rank(volume, 18.5188), 6.86671), 2.95011)))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
quote_volume / nullif(volume, 0) AS vwap,
avg(volume) OVER last_40 AS adv40,
round(decay_linear(correlation(ts_rank(vwap, 3) / 3, ts_rank(volume, 18) / 18, 6), 2), 12) AS fading_volume,
cs_rank(decay_linear(correlation((high + low) / 2, adv40, 8), 10)) / cs_rank(fading_volume)
