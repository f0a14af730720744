-- The J line of the KDJ stochastic.
-- formula: RSV = 100 * (close - min(low, n)) / (max(high, n) - min(low, n)); K = ewm(RSV, com 2), D = ewm(K, com 2), from the first of the last 40 RSV; J = 3 K - 2 D
-- source: Lane's stochastic in its Chinese form; pandas ewm(com=2, adjust=False). A flat window leaves K and D as they are
-- params: n int >= 1 = 9
-- lookback: $n + 39
-- missing: null
-- null: any candle of the look-back is missing, or all 40 windows are flat
-- series rsv: 100 * (close[t] - list_min(low[t - $n + 1 : t])) / (list_max(high[t - $n + 1 : t]) - list_min(low[t - $n + 1 : t]))
-- let state: list_reduce(list_transform(nullif(list_filter(rsv[pos - 39 : pos], lambda x: x IS NOT NULL), []), lambda x: {'k': x, 'd': x}), lambda a, x: {'k': a.k + (x.k - a.k) / 3, 'd': a.d + (a.k + (x.k - a.k) / 3 - a.d) / 3})
3 * state.k - 2 * state.d
