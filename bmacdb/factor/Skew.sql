-- Skew: Skewness of the changes from candle to candle.
-- formula: adjusted Fisher-Pearson coefficient of n changes
-- source: pandas.Series.skew
-- params: n int >= 3 = 24
-- null: any candle of the look-back is missing, or all changes are equal
close / lag(close) OVER bars - 1 AS ret,
CASE WHEN count(ret) OVER last_n = $n THEN skewness(ret) OVER last_n END
