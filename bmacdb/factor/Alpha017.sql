-- Alpha017: a high close that slows down, where volume is above its mean.
-- formula: (((-1 * rank(ts_rank(close, 10))) * rank(delta(delta(close, 1), 1))) * rank(ts_rank((volume / adv20), 5)))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
avg(volume) OVER last_20 AS adv20,
delta(close, 1) AS change,
ts_rank(volume / nullif(adv20, 0), 5) / 5 AS activity,
-cs_rank(ts_rank(close, 10) / 10) * cs_rank(delta(change, 1)) * cs_rank(activity)
