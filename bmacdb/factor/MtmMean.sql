-- MtmMean: Mean momentum: the n-candle change, averaged over n candles.
-- formula: mean of close(i) / close(i - n) - 1 over the last n candles
-- source: common in selection frameworks
-- params: n int >= 1 = 24
-- null: no pair of candles n apart is there
close / lag(close, $n) OVER bars - 1 AS mtm,
avg(mtm) OVER last_n
