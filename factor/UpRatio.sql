-- Share of rising closes.
-- formula: count of close(i) > close(i - 1) / n
-- source: the psychological line (PSY), as a fraction
-- params: n int >= 1 = 12
-- lookback: $n + 1
-- missing: null
-- null: any candle of the look-back is missing
-- series rise: CASE WHEN close[t] > close[t - 1] THEN 1.0::DOUBLE WHEN close[t] <= close[t - 1] THEN 0 END
list_avg(rise[pos - $n + 1 : pos])
