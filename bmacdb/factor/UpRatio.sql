-- UpRatio: Share of rising closes.
-- formula: count of close(i) > close(i - 1) / n
-- source: the psychological line (PSY), as a fraction
-- params: n int >= 1 = 12
-- null: any candle of the look-back is missing
close - lag(close) OVER bars AS change,
CASE WHEN count(change) OVER last_n = $n THEN count(*) FILTER (change > 0) OVER last_n / $n END
