-- Distance of the close from its simple moving average.
-- formula: close / mean(close, n) - 1
-- source: the Chinese BIAS indicator, common in selection frameworks
-- params: n int >= 1 = 20
-- lookback: $n
-- missing: position
-- null: no candle of the window is there
close[pos] / list_avg(close[pos - $n + 1 : pos]) - 1
