-- Alpha052: falling lows, the long trend without the last month, and volume.
-- formula: ((((-1 * ts_min(low, 5)) + delay(ts_min(low, 5), 5)) * rank(((sum(returns, 240) - sum(returns, 20)) / 220))) * ts_rank(volume, 5))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
close / delay(close, 1) - 1 AS change,
min(low) OVER last_5 AS least,
(sum(change) OVER last_240 - sum(change) OVER last_20) / 220 AS trend,
(-least + delay(least, 5)) * cs_rank(trend) * ts_rank(volume, 5) / 5
