-- Width of the Bollinger bands relative to their middle.
-- formula: 4 * population standard deviation(close, n) / mean(close, n)
-- source: Bollinger, BandWidth, two standard deviations; TA-Lib BBANDS
-- params: n int >= 2 = 20
-- lookback: $n
-- missing: null
-- null: any candle of the look-back is missing
4 * list_stddev_pop(close[pos - $n + 1 : pos]) / list_avg(close[pos - $n + 1 : pos])
