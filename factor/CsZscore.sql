-- Z-score of a factor across the market.
-- formula: (value - mean) / sample standard deviation, over the symbols with a value at the run time
-- source: textbook
-- kind: cross
-- params: factor factor
-- of: $factor
-- null: the factor is null, or has fewer than two different values
(value - list_avg(market)) / list_stddev_samp(market)
