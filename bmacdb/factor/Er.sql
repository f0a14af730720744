-- Er: Kaufman's efficiency ratio, 0 to 1.
-- formula: |close(t) - close(t - n)| / sum of |close(i) - close(i - 1)| over n
-- source: Kaufman, Smarter Trading (1995)
-- params: n int >= 1 = 10
-- null: any candle of the look-back is missing, or the close never moved
abs(close - lag(close) OVER bars) AS move,
CASE WHEN count(move) OVER last_n = $n THEN abs(close - lag(close, $n) OVER bars) / sum(move) OVER last_n END
