-- Mean momentum: the n-candle change, averaged over n candles.
-- formula: mean of close(i) / close(i - n) - 1 over the last n candles
-- source: common in selection frameworks
-- params: n int >= 1 = 24
-- lookback: 2 * $n
-- missing: position
-- null: no pair of candles n apart is there
-- series mtm: close[t] / close[t - $n] - 1
list_avg(mtm[pos - $n + 1 : pos])
