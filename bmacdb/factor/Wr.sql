-- Wr: Williams %R, -100 to 0.
-- formula: -100 * (max(high, n) - close) / (max(high, n) - min(low, n))
-- source: Williams; TA-Lib WILLR
-- params: n int >= 1 = 14
-- null: any candle of the look-back is missing, or the window is flat
CASE WHEN count(close) OVER last_n = $n THEN -100 * (max(high) OVER last_n - close) / (max(high) OVER last_n - min(low) OVER last_n) END
