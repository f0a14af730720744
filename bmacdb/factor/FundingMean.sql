-- FundingMean: Mean of the settled funding rates within n candles.
-- formula: sum of the funding rates / their number
-- source: the exchange's funding history; settlements as in FundingRate
-- params: n int >= 1 = 96
-- null: no settlement within n candles, or funding is not recorded
sum(funding_sum) OVER last_n / sum(funding_count) OVER last_n
