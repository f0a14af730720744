-- Obv: On-balance volume over the window.
-- formula: sum over n of sign(close(i) - close(i - 1)) * volume(i)
-- source: Granville 1963, as the change over n candles; TA-Lib OBV(t) - OBV(t - n)
-- params: n int >= 1 = 24
-- null: any candle of the look-back is missing
sign(close - lag(close) OVER bars) * volume AS signed_volume,
CASE WHEN count(signed_volume) OVER last_n = $n THEN sum(signed_volume) OVER last_n END
