-- Alpha077: the lower of two fading ranks: middle over average price, and middle with turnover.
-- formula: min(rank(decay_linear(((((high + low) / 2) + high) - (vwap + high)), 20.0451)), rank(decay_linear(correlation(((high + low) / 2), adv40, 3.1614), 5.64125)))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
quote_volume / nullif(volume, 0) AS vwap,
avg(volume) OVER last_40 AS adv40,
decay_linear((high + low) / 2 + high - (vwap + high), 20) AS fading_distance,
decay_linear(correlation((high + low) / 2, adv40, 3), 5) AS fading_together,
least(cs_rank(fading_distance), cs_rank(fading_together))
