-- Variation of turnover: sample standard deviation relative to the mean.
-- formula: std(quote_volume, n) / mean(quote_volume, n), ddof 1
-- source: coefficient of variation
-- params: n int >= 2 = 24
-- lookback: $n
-- missing: position
-- null: fewer than two candles are there, or no turnover at all
list_stddev_samp(quote_volume[pos - $n + 1 : pos]) / list_avg(quote_volume[pos - $n + 1 : pos])
