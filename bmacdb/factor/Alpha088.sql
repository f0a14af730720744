-- Alpha088: the lower of two fading ranks: open and low over high and close, and close with turnover.
-- formula: min(rank(decay_linear(((rank(open) + rank(low)) - (rank(high) + rank(close))), 8.06882)), Ts_Rank(decay_linear(correlation(Ts_Rank(close, 8.44728), Ts_Rank(adv60, 20.6966), 8.01266), 6.65053), 2.61957))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
avg(volume) OVER last_60 AS adv60,
round(decay_linear(cs_rank(open) + cs_rank(low) - (cs_rank(high) + cs_rank(close)), 8), 12) AS fading_fall,
round(decay_linear(correlation(ts_rank(close, 8) / 8, ts_rank(adv60, 20) / 20, 8), 6), 12) AS fading_together,
least(cs_rank(fading_fall), ts_rank(fading_together, 2) / 2)
