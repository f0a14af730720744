-- BollWidth: Width of the Bollinger bands relative to their middle.
-- formula: 4 * population standard deviation(close, n) / mean(close, n)
-- source: Bollinger, BandWidth, two standard deviations; TA-Lib BBANDS
-- params: n int >= 2 = 20
-- null: any candle of the look-back is missing
CASE WHEN count(close) OVER last_n = $n THEN 4 * stddev_pop(close) OVER last_n / avg(close) OVER last_n END
