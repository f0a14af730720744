-- Quantile group of a factor across the market: 1 (smallest) to q.
-- formula: 1 + floor((rank - 1) * q / number), equals in the group of their smallest
-- source: textbook
-- kind: cross
-- params: factor factor, q int >= 2 = 5
-- of: $factor
-- null: the factor is null
1 + ((rank() OVER (PARTITION BY k ORDER BY value NULLS LAST) - 1) * $q) // count(value) OVER (PARTITION BY k)
