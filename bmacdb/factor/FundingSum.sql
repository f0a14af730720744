-- FundingSum: Funding paid by a long position held for n candles.
-- formula: sum of the settled funding rates
-- source: the exchange's funding history; settlements as in FundingRate
-- params: n int >= 1 = 96
-- null: no settlement within n candles, or funding is not recorded
sum(funding_sum) OVER last_n
