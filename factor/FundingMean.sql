-- Mean of the settled funding rates within n candles.
-- formula: sum of the funding rates / their number
-- source: the exchange's funding history; settlements as in FundingRate
-- params: n int >= 1 = 96
-- lookback: $n
-- missing: position
-- null: no settlement within n candles, or funding is not recorded
list_sum(funding_sum[pos - $n + 1 : pos]) / list_sum(funding_count[pos - $n + 1 : pos])
