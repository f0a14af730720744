-- CsZscore: Z-score of a factor across the market.
-- formula: (value - mean) / sample standard deviation, over the symbols with a value at the run time
-- source: textbook
-- params: factor factor
-- null: the factor is null, or has fewer than two different values
cs_zscore($factor)
