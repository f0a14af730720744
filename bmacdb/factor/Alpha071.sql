-- Alpha071: the higher of two fading ranks: close with turnover, and price below the average price.
-- formula: max(Ts_Rank(decay_linear(correlation(Ts_Rank(close, 3.43976), Ts_Rank(adv180, 12.0647), 18.0175), 4.20501), 15.6948), Ts_Rank(decay_linear((rank(((low + open) - (vwap + vwap)))^2), 16.4662), 4.4388))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
quote_volume / nullif(volume, 0) AS vwap,
avg(volume) OVER last_180 AS adv180,
round(decay_linear(correlation(ts_rank(close, 3) / 3, ts_rank(adv180, 12) / 12, 18), 4), 12) AS fading_together,
round(decay_linear(cs_rank(low + open - (vwap + vwap)) ** 2, 16), 12) AS fading_below,
greatest(ts_rank(fading_together, 15) / 15, ts_rank(fading_below, 4) / 4)
