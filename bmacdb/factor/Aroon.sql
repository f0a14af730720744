-- Aroon: Aroon oscillator, -100 to 100.
-- formula: 100 * (candles since the low - candles since the high) / n over n + 1 candles; the newest of equals counts
-- source: Chande 1995; TA-Lib AROONOSC
-- params: n int >= 1 = 25
-- null: any candle of the look-back is missing
array_agg(high) OVER (bars ROWS BETWEEN $n PRECEDING AND CURRENT ROW) AS highs,
array_agg(low) OVER (bars ROWS BETWEEN $n PRECEDING AND CURRENT ROW) AS lows,
list_position(list_reverse(highs), list_max(highs)) AS since_high,
list_position(list_reverse(lows), list_min(lows)) AS since_low,
CASE WHEN count(close) OVER (bars ROWS BETWEEN $n PRECEDING AND CURRENT ROW) = $n + 1 THEN 100 * (since_low - since_high) / $n END
