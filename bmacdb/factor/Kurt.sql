-- Kurt: Excess kurtosis of the changes from candle to candle.
-- formula: bias-corrected excess kurtosis of n changes
-- source: pandas.Series.kurt
-- params: n int >= 4 = 24
-- null: any candle of the look-back is missing, or all changes are equal
close / lag(close) OVER bars - 1 AS ret,
CASE WHEN count(ret) OVER last_n = $n THEN kurtosis(ret) OVER last_n END
