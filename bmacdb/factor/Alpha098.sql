-- Alpha098: fading correlation of average price with turnover, less that of open with turnover.
-- formula: (rank(decay_linear(correlation(vwap, sum(adv5, 26.4719), 4.58418), 7.18088)) - rank(decay_linear(Ts_Rank(Ts_ArgMin(correlation(rank(open), rank(adv15), 20.8187), 8.62571), 6.95668), 8.07206)))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
quote_volume / nullif(volume, 0) AS vwap,
avg(volume) OVER last_5 AS adv5,
avg(volume) OVER last_15 AS adv15,
round(decay_linear(ts_rank(ts_argmin(correlation(cs_rank(open), cs_rank(adv15), 20), 8), 6) / 6, 8), 12) AS fading_trough,
cs_rank(decay_linear(correlation(vwap, sum(adv5) OVER last_26, 4), 7)) - cs_rank(fading_trough)
