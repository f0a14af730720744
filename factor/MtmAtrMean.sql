-- Mean momentum weighted by the average true range relative to the mean price.
-- formula: MtmMean(n) * mean(TR, n) / mean(close, n)
-- source: common in selection frameworks (adaptive Bollinger family); TR as in Wilder 1978
-- params: n int >= 1 = 24
-- lookback: 2 * $n
-- missing: position
-- null: no pair of candles n apart is there
-- series mtm: close[t] / close[t - $n] - 1
-- series true_range: greatest(high[t] - low[t], abs(high[t] - close[t - 1]), abs(low[t] - close[t - 1]))
list_avg(mtm[pos - $n + 1 : pos]) * list_avg(true_range[pos - $n + 1 : pos]) / list_avg(close[pos - $n + 1 : pos])
