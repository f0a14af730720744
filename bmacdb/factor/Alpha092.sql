-- Alpha092: the lower of two fading ranks in time: low opens, and low with turnover.
-- formula: min(Ts_Rank(decay_linear(((((high + low) / 2) + close) < (low + open)), 14.7221), 18.8683), Ts_Rank(decay_linear(correlation(rank(low), rank(adv30), 7.58555), 6.94024), 6.80584))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
avg(volume) OVER last_30 AS adv30,
round(decay_linear(((high + low) / 2 + close < low + open)::DOUBLE, 14), 12) AS fading_below,
round(decay_linear(correlation(cs_rank(low), cs_rank(adv30), 7), 6), 12) AS fading_together,
least(ts_rank(fading_below, 18) / 18, ts_rank(fading_together, 6) / 6)
