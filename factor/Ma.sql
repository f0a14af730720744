-- Simple moving average of the close.
-- formula: mean(close, n)
-- source: TA-Lib SMA
-- params: n int >= 1 = 20
-- lookback: $n
-- missing: position
-- null: no candle of the window is there
list_avg(close[pos - $n + 1 : pos])
