-- Kaufman's efficiency ratio, 0 to 1.
-- formula: |close(t) - close(t - n)| / sum of |close(i) - close(i - 1)| over n
-- source: Kaufman, Smarter Trading (1995)
-- params: n int >= 1 = 10
-- lookback: $n + 1
-- missing: null
-- null: any candle of the look-back is missing, or the close never moved
-- series move: abs(close[t] - close[t - 1])
abs(close[pos] - close[pos - $n]) / list_sum(move[pos - $n + 1 : pos])
