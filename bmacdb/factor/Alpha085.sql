-- Alpha085: correlation of price with turnover, to the power of that of the middle with volume.
-- formula: (rank(correlation(((high * 0.876703) + (close * (1 - 0.876703))), adv30, 9.61331))^rank(correlation(Ts_Rank(((high + low) / 2), 3.70596), Ts_Rank(volume, 10.1595), 7.11408)))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
avg(volume) OVER last_30 AS adv30,
correlation(high * 0.876703 + close * (1 - 0.876703), adv30, 9) AS price_turnover,
correlation(ts_rank((high + low) / 2, 3) / 3, ts_rank(volume, 10) / 10, 7) AS middle_volume,
cs_rank(price_turnover) ** cs_rank(middle_volume)
