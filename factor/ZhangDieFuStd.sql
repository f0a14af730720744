-- Sample standard deviation of the changes from candle to candle (zhang die fu).
-- formula: std of close(i) / close(i - 1) - 1 over n changes, ddof 1
-- source: common in selection frameworks
-- params: n int >= 2 = 24
-- lookback: $n + 1
-- missing: null
-- null: any candle of the look-back is missing
-- series ret: close[t] / close[t - 1] - 1
list_stddev_samp(ret[pos - $n + 1 : pos])
