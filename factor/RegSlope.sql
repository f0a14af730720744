-- Slope of the regression line through the closes, per candle.
-- formula: least squares of close on 0 .. n - 1
-- source: textbook; TA-Lib LINEARREG_SLOPE
-- params: n int >= 2 = 14
-- lookback: $n
-- missing: null
-- null: any candle of the look-back is missing
list_sum(list_transform(close[pos - $n + 1 : pos], lambda x, i: (i - 1 - ($n - 1) / 2.0) * (x - close[pos]))) / ($n * ($n * $n - 1.0) / 12)
