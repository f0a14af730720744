-- Rsi: Relative strength index with Wilder's smoothing, 0 to 100.
-- formula: 100 * up / (up + down); up, down: mean of the first n gains (losses) of the look-back, then x = (x * (n - 1) + gain) / n
-- source: Wilder, New Concepts in Technical Trading Systems (1978); TA-Lib RSI started at the look-back's first candle
-- params: n int >= 2 = 14
-- null: any candle of the look-back is missing, or the close never moved
close - lag(close) OVER bars AS change,
wilder((abs(change) + change) / 2, $n, 10 * $n) AS up,
wilder((abs(change) - change) / 2, $n, 10 * $n) AS down,
100 * up / (up + down)
