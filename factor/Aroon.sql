-- Aroon oscillator, -100 to 100.
-- formula: 100 * (candles since the low - candles since the high) / n over n + 1 candles; the newest of equals counts
-- source: Chande 1995; TA-Lib AROONOSC
-- params: n int >= 1 = 25
-- lookback: $n + 1
-- missing: null
-- null: any candle of the look-back is missing
100.0 * (list_position(list_reverse(low[pos - $n : pos]), list_min(low[pos - $n : pos])) - list_position(list_reverse(high[pos - $n : pos]), list_max(high[pos - $n : pos]))) / $n
