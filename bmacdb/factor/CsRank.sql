-- CsRank: Rank of a factor across the market, above 0 to 1.
-- formula: rank of the smallest equal / number of symbols with a value, at the run time
-- source: pandas rank(method='min', pct=True)
-- params: factor factor
-- null: the factor is null
cs_rank($factor)
