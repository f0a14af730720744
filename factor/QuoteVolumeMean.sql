-- Mean turnover.
-- formula: mean(quote_volume, n)
-- source: common in selection frameworks
-- params: n int >= 1 = 24
-- lookback: $n
-- missing: position
-- null: no candle of the window is there
list_avg(quote_volume[pos - $n + 1 : pos])
