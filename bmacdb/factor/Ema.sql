-- Ema: Exponential moving average of the close.
-- formula: x = close of the look-back's first candle, then x = x + 2 / (n + 1) * (close - x), over 10 n candles
-- source: pandas ewm(span=n, adjust=False) over the look-back; TA-Lib EMA in its Metastock mode
-- params: n int >= 1 = 12
-- null: any candle of the look-back is missing
ewm(close, 2 / ($n + 1), 10 * $n)
