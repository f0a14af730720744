-- Momentum: the community's name for the change of the close over n candles.
-- formula: close(t) / close(t - n) - 1
-- source: common in selection frameworks as mtm = close / close.shift(n) - 1
-- params: n int >= 1 = 100
-- lookback: $n + 1
-- missing: position
-- null: either of the two candles is missing
close[pos] / close[pos - $n] - 1
