-- Downside deviation of the changes.
-- formula: sqrt(mean over n of min(close(i) / close(i - 1) - 1, 0) squared)
-- source: Sortino and Price 1994, target 0
-- params: n int >= 1 = 24
-- lookback: $n + 1
-- missing: null
-- null: any candle of the look-back is missing
-- series ret: close[t] / close[t - 1] - 1
-- series downside: CASE WHEN ret[t] < 0 THEN ret[t] * ret[t] WHEN ret[t] >= 0 THEN 0 END
sqrt(list_avg(downside[pos - $n + 1 : pos]))
