-- Rank of a factor across the market, above 0 to 1.
-- formula: rank of the smallest equal / number of symbols with a value, at the run time
-- source: pandas rank(method='min', pct=True)
-- kind: cross
-- params: factor factor
-- of: $factor
-- null: the factor is null
rank() OVER (PARTITION BY k ORDER BY value NULLS LAST) / (count(value) OVER (PARTITION BY k))::DOUBLE
