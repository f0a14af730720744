-- Atr: Average true range, simple mean.
-- formula: mean(TR, n), TR = max(high - low, |high - close(t - 1)|, |low - close(t - 1)|)
-- source: Wilder 1978 with the simple mean common in selection frameworks; TA-Lib TRANGE
-- params: n int >= 1 = 14
-- null: any candle of the look-back is missing
lag(close) OVER bars AS previous,
CASE WHEN previous IS NOT NULL THEN greatest(high - low, abs(high - previous), abs(low - previous)) END AS true_range,
CASE WHEN count(true_range) OVER last_n = $n THEN avg(true_range) OVER last_n END
