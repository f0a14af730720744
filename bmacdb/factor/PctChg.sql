-- PctChg: Change of the close over n candles.
-- formula: close(t) / close(t - n) - 1
-- source: pandas.Series.pct_change; the predecessor's example
-- params: n int >= 1 = 100
-- null: either of the two candles is missing
close / lag(close, $n) OVER bars - 1
