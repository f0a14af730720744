-- Amihud's illiquidity: absolute change per unit of turnover.
-- formula: mean over n of |close(i) / close(i - 1) - 1| / quote_volume(i); candles without turnover are left out
-- source: Amihud, Illiquidity and stock returns, J. Financial Markets 5 (2002)
-- params: n int >= 1 = 24
-- lookback: $n + 1
-- missing: position
-- null: no change with turnover is there
-- series illiquidity: abs(close[t] / close[t - 1] - 1) / quote_volume[t]
list_avg(illiquidity[pos - $n + 1 : pos])
