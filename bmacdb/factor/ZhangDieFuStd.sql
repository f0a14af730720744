-- ZhangDieFuStd: Sample standard deviation of the changes from candle to candle (zhang die fu).
-- formula: std of close(i) / close(i - 1) - 1 over n changes, ddof 1
-- source: common in selection frameworks
-- params: n int >= 2 = 24
-- null: any candle of the look-back is missing
close / lag(close) OVER bars - 1 AS ret,
CASE WHEN count(ret) OVER last_n = $n THEN stddev(ret) OVER last_n END
