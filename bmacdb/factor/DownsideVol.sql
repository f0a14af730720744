-- DownsideVol: Downside deviation of the changes.
-- formula: sqrt(mean over n of min(close(i) / close(i - 1) - 1, 0) squared)
-- source: Sortino and Price 1994, target 0
-- params: n int >= 1 = 24
-- null: any candle of the look-back is missing
close / lag(close) OVER bars - 1 AS ret,
CASE WHEN count(ret) OVER last_n = $n THEN sqrt(avg(least(ret, 0) ** 2) OVER last_n) END
