-- Amihud: Amihud's illiquidity: absolute change per unit of turnover.
-- formula: mean over n of |close(i) / close(i - 1) - 1| / quote_volume(i); candles without turnover are left out
-- source: Amihud, Illiquidity and stock returns, J. Financial Markets 5 (2002)
-- params: n int >= 1 = 24
-- null: no change with turnover is there
abs(close / lag(close) OVER bars - 1) / nullif(quote_volume, 0) AS illiquidity,
avg(illiquidity) OVER last_n
