-- QuoteVolumeStd: Variation of turnover: sample standard deviation relative to the mean.
-- formula: std(quote_volume, n) / mean(quote_volume, n), ddof 1
-- source: coefficient of variation
-- params: n int >= 2 = 24
-- null: fewer than two candles are there, or no turnover at all
stddev(quote_volume) OVER last_n / avg(quote_volume) OVER last_n
