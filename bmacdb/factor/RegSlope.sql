-- RegSlope: Slope of the regression line through the closes, per candle.
-- formula: least squares of close on 0 .. n - 1
-- source: textbook; TA-Lib LINEARREG_SLOPE
-- params: n int >= 2 = 14
-- null: any candle of the look-back is missing
6 * (decay_linear(close, $n) - avg(close) OVER last_n) / ($n - 1)
