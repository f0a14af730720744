-- CsQuantile: Quantile group of a factor across the market: 1 (smallest) to q.
-- formula: 1 + floor((rank - 1) * q / number), equals in the group of their smallest
-- source: textbook
-- params: factor factor, q int >= 2 = 5
-- null: the factor is null
$factor AS x,
CASE WHEN x IS NOT NULL THEN 1 + ((rank() OVER (market ORDER BY x) - 1) * $q) // count(x) OVER market END
