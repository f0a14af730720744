-- Volatility: Realized volatility: sample standard deviation of log returns, per candle (not annualized).
-- formula: std of ln(close(i) / close(i - 1)) over n returns, ddof 1
-- source: textbook close-to-close volatility
-- params: n int >= 2 = 24
-- null: any candle of the look-back is missing
ln(close / lag(close) OVER bars) AS log_return,
CASE WHEN count(log_return) OVER last_n = $n THEN stddev(log_return) OVER last_n END
