-- KdjK: The K line of the KDJ stochastic.
-- formula: RSV = 100 * (close - min(low, n)) / (max(high, n) - min(low, n)); K = ewm(RSV, com 2), D = ewm(K, com 2), from the first of the last 40 RSV; J = 3 K - 2 D
-- source: Lane's stochastic in its Chinese form; pandas ewm(com=2, adjust=False). A flat window leaves K and D as they are
-- params: n int >= 1 = 9
-- null: any candle of the look-back is missing, or all 40 windows are flat
100 * (close - min(low) OVER last_n) / nullif(max(high) OVER last_n - min(low) OVER last_n, 0) AS rsv,
array_agg(rsv) FILTER (rsv IS NOT NULL) OVER last_40 AS seen,
CASE WHEN count(close) OVER (bars ROWS BETWEEN $n + 38 PRECEDING AND CURRENT ROW) = $n + 39 THEN list_reduce(seen, lambda k, x: k + (x - k) / 3) END
