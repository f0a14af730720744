-- The last settled funding rate within n candles.
-- formula: the newest funding_rate whose funding_time lies before run_time and within the last n candles
-- source: the exchange's funding history. A settlement on the boundary counts from the candle that opens there
-- params: n int >= 1 = 96
-- lookback: $n
-- missing: position
-- null: no settlement within n candles, or funding is not recorded
list_filter(funding_rate[pos - $n + 1 : pos], lambda x: x IS NOT NULL)[-1]
