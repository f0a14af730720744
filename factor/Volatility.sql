-- Realized volatility: sample standard deviation of log returns, per candle (not annualized).
-- formula: std of ln(close(i) / close(i - 1)) over n returns, ddof 1
-- source: textbook close-to-close volatility
-- params: n int >= 2 = 24
-- lookback: $n + 1
-- missing: null
-- null: any candle of the look-back is missing
-- series log_return: ln(close[t] / close[t - 1])
list_stddev_samp(log_return[pos - $n + 1 : pos])
