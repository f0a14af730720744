-- Change of the close over n candles.
-- formula: close(t) / close(t - n) - 1
-- source: pandas.Series.pct_change; the predecessor's example
-- params: n int >= 1 = 100
-- lookback: $n + 1
-- missing: position
-- null: either of the two candles is missing
close[pos] / close[pos - $n] - 1
