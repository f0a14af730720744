-- Alpha073: the higher of two fading ranks, of the moves of average price and of price, reversed.
-- formula: (max(rank(decay_linear(delta(vwap, 4.72775), 2.91864)), Ts_Rank(decay_linear(((delta(((open * 0.147155) + (low * (1 - 0.147155))), 2.03608) / ((open * 0.147155) + (low * (1 - 0.147155)))) * -1), 3.33829), 16.7411)) * -1)
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
quote_volume / nullif(volume, 0) AS vwap,
open * 0.147155 + low * (1 - 0.147155) AS price,
decay_linear(-delta(price, 2) / price, 3) AS fading_fall,
-greatest(cs_rank(decay_linear(delta(vwap, 4), 2)), ts_rank(fading_fall, 16) / 16)
