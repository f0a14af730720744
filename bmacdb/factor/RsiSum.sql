-- RsiSum: Relative strength index with plain sums (Cutler), 0 to 100.
-- formula: 100 * sum of gains / sum of absolute changes, over n changes
-- source: Cutler's RSI; the form common in selection frameworks
-- params: n int >= 1 = 14
-- null: any candle of the look-back is missing, or the close never moved
close - lag(close) OVER bars AS change,
CASE WHEN count(change) OVER last_n = $n THEN 100 * sum(greatest(change, 0)) OVER last_n / sum(abs(change)) OVER last_n END
