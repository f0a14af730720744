-- Alpha043: high volume and a fall, ranked in time.
-- formula: (ts_rank((volume / adv20), 20) * ts_rank((-1 * delta(close, 7)), 8))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
avg(volume) OVER last_20 AS adv20,
ts_rank(volume / nullif(adv20, 0), 20) / 20 * ts_rank(-delta(close, 7), 8) / 8
