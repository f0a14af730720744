-- MtmAtrMean: Mean momentum weighted by the average true range relative to the mean price.
-- formula: MtmMean(n) * mean(TR, n) / mean(close, n)
-- source: common in selection frameworks (adaptive Bollinger family); TR as in Wilder 1978
-- params: n int >= 1 = 24
-- null: no pair of candles n apart is there
close / lag(close, $n) OVER bars - 1 AS mtm,
lag(close) OVER bars AS previous,
greatest(high - low, abs(high - previous), abs(low - previous)) AS true_range,
avg(mtm) OVER last_n * avg(true_range) OVER last_n / avg(close) OVER last_n
