-- Turnover of the candle relative to the mean of the n before it.
-- formula: quote_volume(t) / mean(quote_volume(t - n .. t - 1))
-- source: relative volume (RVOL)
-- params: n int >= 1 = 24
-- lookback: $n + 1
-- missing: position
-- null: none of the n candles before is there, or they have no turnover
quote_volume[pos] / list_avg(quote_volume[pos - $n : pos - 1])
