-- FundingRate: The last settled funding rate within n candles.
-- formula: the newest funding_rate settled in the last n candles, each counted two minutes after its funding_time
-- source: the exchange's funding history. By then the recorder has it, so live values are those of research
-- params: n int >= 1 = 96
-- null: no settlement within n candles, or funding is not recorded
last_value(funding_rate IGNORE NULLS) OVER last_n
