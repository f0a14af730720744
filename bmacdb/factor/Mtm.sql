-- Mtm: Momentum: the community's name for the change of the close over n candles.
-- formula: close(t) / close(t - n) - 1
-- source: common in selection frameworks as mtm = close / close.shift(n) - 1
-- params: n int >= 1 = 100
-- null: either of the two candles is missing
close / lag(close, $n) OVER bars - 1
