-- GarmanKlass: Garman-Klass volatility, per candle.
-- formula: sqrt(mean over n of 0.5 ln(high / low)^2 - (2 ln 2 - 1) ln(close / open)^2)
-- source: Garman and Klass 1980
-- params: n int >= 1 = 24
-- null: any candle of the look-back is missing, or the mean is negative
0.5 * ln(high / low) ** 2 - (2 * ln(2) - 1) * ln(close / open) ** 2 AS variance,
CASE WHEN count(variance) OVER last_n = $n THEN sqrt(avg(variance) OVER last_n) END
