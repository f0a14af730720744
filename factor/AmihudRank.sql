-- Rank of Amihud's illiquidity across the market, above 0 to 1.
-- formula: CsRank of Amihud(n)
-- source: Amihud 2002
-- kind: cross
-- params: n int >= 1 = 24
-- of: Amihud:$n
-- null: Amihud is null
rank() OVER (PARTITION BY k ORDER BY value NULLS LAST) / (count(value) OVER (PARTITION BY k))::DOUBLE
