-- Ma: Simple moving average of the close.
-- formula: mean(close, n)
-- source: TA-Lib SMA
-- params: n int >= 1 = 20
-- null: no candle of the window is there
avg(close) OVER last_n
