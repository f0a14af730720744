-- Parkinson: Parkinson's range volatility, per candle.
-- formula: sqrt(mean over n of ln(high / low)^2 / (4 ln 2))
-- source: Parkinson 1980
-- params: n int >= 1 = 24
-- null: any candle of the look-back is missing
ln(high / low) ** 2 AS range_square,
CASE WHEN count(range_square) OVER last_n = $n THEN sqrt(avg(range_square) OVER last_n / (4 * ln(2))) END
