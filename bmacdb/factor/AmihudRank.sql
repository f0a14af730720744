-- AmihudRank: Rank of Amihud's illiquidity across the market, above 0 to 1.
-- formula: CsRank of Amihud(n)
-- source: Amihud 2002
-- params: n int >= 1 = 24
-- null: Amihud is null
cs_rank(Amihud($n))
