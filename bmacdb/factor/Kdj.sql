-- Kdj: The J line of the KDJ stochastic.
-- formula: RSV = 100 * (close - min(low, n)) / (max(high, n) - min(low, n)); K = ewm(RSV, com 2), D = ewm(K, com 2), from the first of the last 40 RSV; J = 3 K - 2 D
-- source: Lane's stochastic in its Chinese form; pandas ewm(com=2, adjust=False). A flat window leaves K and D as they are
-- params: n int >= 1 = 9
-- null: any candle of the look-back is missing, or all 40 windows are flat
3 * KdjK($n) - 2 * KdjD($n)
