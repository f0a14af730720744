-- Alpha031: fading fall of ten bars, fall of three, and whether turnover goes with the low.
-- formula: ((rank(rank(rank(decay_linear((-1 * rank(rank(delta(close, 10)))), 10)))) + rank((-1 * delta(close, 3)))) + sign(scale(correlation(adv20, low, 12))))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
avg(volume) OVER last_20 AS adv20,
round(decay_linear(-cs_rank(cs_rank(delta(close, 10))), 10), 12) AS fading,
cs_rank(cs_rank(cs_rank(fading))) + cs_rank(-delta(close, 3)) + sign(cs_scale(correlation(adv20, low, 12)))
