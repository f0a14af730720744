-- AtrWilder: Average true range with Wilder's smoothing.
-- formula: mean of the first n TR of the look-back, then x = (x * (n - 1) + TR) / n
-- source: Wilder 1978; TA-Lib ATR started at the look-back's first candle
-- params: n int >= 1 = 14
-- null: any candle of the look-back is missing
lag(close) OVER bars AS previous,
CASE WHEN previous IS NOT NULL THEN greatest(high - low, abs(high - previous), abs(low - previous)) END AS true_range,
wilder(true_range, $n, 10 * $n)
