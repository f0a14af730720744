-- Alpha029: lowest rank of falls within five bars, and the rank in time of an earlier change.
-- formula: (min(product(rank(rank(scale(log(sum(ts_min(rank(rank((-1 * rank(delta((close - 1), 5))))), 2), 1))))), 1), 5) + ts_rank(delay((-1 * returns), 6), 5))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
close / delay(close, 1) - 1 AS change,
cs_scale(ln(min(cs_rank(cs_rank(-cs_rank(close - 1 - delay(close - 1, 5))))) OVER last_2)) AS share,
min(cs_rank(cs_rank(share))) OVER last_5 + ts_rank(delay(-change, 6), 5) / 5
