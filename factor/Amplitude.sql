-- Range of the window relative to its low.
-- formula: max(high, n) / min(low, n) - 1
-- source: common in selection frameworks as ZhenFu
-- params: n int >= 1 = 24
-- lookback: $n
-- missing: position
-- null: no candle of the window is there
list_max(high[pos - $n + 1 : pos]) / list_min(low[pos - $n + 1 : pos]) - 1
