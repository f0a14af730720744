-- Garman-Klass volatility, per candle.
-- formula: sqrt(mean over n of 0.5 ln(high / low)^2 - (2 ln 2 - 1) ln(close / open)^2)
-- source: Garman and Klass 1980
-- params: n int >= 1 = 24
-- lookback: $n
-- missing: null
-- null: any candle of the look-back is missing, or the mean is negative
-- series variance: 0.5 * ln(high[t] / low[t]) * ln(high[t] / low[t]) - (2 * ln(2) - 1) * ln(close[t] / open[t]) * ln(close[t] / open[t])
CASE WHEN list_avg(variance[pos - $n + 1 : pos]) >= 0 THEN sqrt(list_avg(variance[pos - $n + 1 : pos])) END
