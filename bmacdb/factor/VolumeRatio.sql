-- VolumeRatio: Turnover of the candle relative to the mean of the n before it.
-- formula: quote_volume(t) / mean(quote_volume(t - n .. t - 1))
-- source: relative volume (RVOL)
-- params: n int >= 1 = 24
-- null: none of the n candles before is there, or they have no turnover
quote_volume / avg(quote_volume) OVER (bars ROWS BETWEEN $n PRECEDING AND 1 PRECEDING)
