-- Average true range with Wilder's smoothing.
-- formula: mean of the first n TR of the look-back, then x = (x * (n - 1) + TR) / n
-- source: Wilder 1978; TA-Lib ATR started at the look-back's first candle
-- params: n int >= 1 = 14
-- lookback: 10 * $n + 1
-- missing: null
-- null: any candle of the look-back is missing
-- series true_range: greatest(high[t] - low[t], abs(high[t] - close[t - 1]), abs(low[t] - close[t - 1]))
list_reduce(list_concat([list_avg(true_range[pos - 10 * $n + 1 : pos - 9 * $n])], true_range[pos - 9 * $n + 1 : pos]), lambda a, x: (a * ($n - 1) + x) / $n)
