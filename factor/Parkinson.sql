-- Parkinson's range volatility, per candle.
-- formula: sqrt(mean over n of ln(high / low)^2 / (4 ln 2))
-- source: Parkinson 1980
-- params: n int >= 1 = 24
-- lookback: $n
-- missing: null
-- null: any candle of the look-back is missing
-- series range_square: ln(high[t] / low[t]) * ln(high[t] / low[t])
sqrt(list_avg(range_square[pos - $n + 1 : pos]) / (4 * ln(2)))
