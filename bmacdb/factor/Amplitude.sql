-- Amplitude: Range of the window relative to its low.
-- formula: max(high, n) / min(low, n) - 1
-- source: common in selection frameworks as ZhenFu
-- params: n int >= 1 = 24
-- null: no candle of the window is there
max(high) OVER last_n / min(low) OVER last_n - 1
