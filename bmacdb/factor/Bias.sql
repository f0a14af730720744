-- Bias: Distance of the close from its simple moving average.
-- formula: close / mean(close, n) - 1
-- source: the Chinese BIAS indicator, common in selection frameworks
-- params: n int >= 1 = 20
-- null: no candle of the window is there
close / avg(close) OVER last_n - 1
