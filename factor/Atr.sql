-- Average true range, simple mean.
-- formula: mean(TR, n), TR = max(high - low, |high - close(t - 1)|, |low - close(t - 1)|)
-- source: Wilder 1978 with the simple mean common in selection frameworks; TA-Lib TRANGE
-- params: n int >= 1 = 14
-- lookback: $n + 1
-- missing: null
-- null: any candle of the look-back is missing
-- series true_range: greatest(high[t] - low[t], abs(high[t] - close[t - 1]), abs(low[t] - close[t - 1]))
list_avg(true_range[pos - $n + 1 : pos])
