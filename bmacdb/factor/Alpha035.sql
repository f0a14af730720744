-- Alpha035: high volume, small range and low change, ranked in time.
-- formula: ((Ts_Rank(volume, 32) * (1 - Ts_Rank(((close + high) - low), 16))) * (1 - Ts_Rank(returns, 32)))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
close / delay(close, 1) - 1 AS change,
ts_rank(volume, 32) / 32 * (1 - ts_rank(close + high - low, 16) / 16) * (1 - ts_rank(change, 32) / 32)
