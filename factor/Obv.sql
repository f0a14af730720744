-- On-balance volume over the window.
-- formula: sum over n of sign(close(i) - close(i - 1)) * volume(i)
-- source: Granville 1963, as the change over n candles; TA-Lib OBV(t) - OBV(t - n)
-- params: n int >= 1 = 24
-- lookback: $n + 1
-- missing: null
-- null: any candle of the look-back is missing
-- series signed_volume: sign(close[t] - close[t - 1]) * volume[t]
list_sum(signed_volume[pos - $n + 1 : pos])
