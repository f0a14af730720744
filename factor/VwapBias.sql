-- Distance of the close from the volume weighted average price of n candles.
-- formula: close / (sum(quote_volume, n) / sum(volume, n)) - 1
-- source: common in selection frameworks; meaningless on COIN-M, where volume counts contracts
-- params: n int >= 1 = 24
-- lookback: $n
-- missing: position
-- null: no volume in the window
close[pos] / (list_sum(quote_volume[pos - $n + 1 : pos]) / list_sum(volume[pos - $n + 1 : pos])) - 1
