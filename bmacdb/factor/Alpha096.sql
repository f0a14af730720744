-- Alpha096: the higher of two fading ranks in time, of average price with volume and close with turnover, reversed.
-- formula: (max(Ts_Rank(decay_linear(correlation(rank(vwap), rank(volume), 3.83878), 4.16783), 8.38151), Ts_Rank(decay_linear(Ts_ArgMax(correlation(Ts_Rank(close, 7.45404), Ts_Rank(adv60, 4.13242), 3.65459), 12.6556), 14.0365), 13.4143)) * -1)
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
quote_volume / nullif(volume, 0) AS vwap,
avg(volume) OVER last_60 AS adv60,
round(decay_linear(correlation(cs_rank(vwap), cs_rank(volume), 3), 4), 12) AS fading_volume,
round(decay_linear(ts_argmax(correlation(ts_rank(close, 7) / 7, ts_rank(adv60, 4) / 4, 3), 12), 14), 12) AS fading_peak,
-greatest(ts_rank(fading_volume, 8) / 8, ts_rank(fading_peak, 13) / 13)
