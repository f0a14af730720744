-- Alpha034: rank of falling volatility and of a fall.
-- formula: rank(((1 - rank((stddev(returns, 2) / stddev(returns, 5)))) + (1 - rank(delta(close, 1)))))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
close / delay(close, 1) - 1 AS change,
stddev_samp(change) OVER last_2 / nullif(stddev_samp(change) OVER last_5, 0) AS spread,
cs_rank(round(1 - cs_rank(spread) + (1 - cs_rank(delta(close, 1))), 12))
