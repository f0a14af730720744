-- ILLQMean: Mean turnover per unit of price path: how much money a move takes.
-- formula: mean over n of quote_volume / (shortest path / open), shortest path = 2 * (high - low) - |open - close|; candles without a path are left out
-- source: common in selection frameworks as ILLQ
-- params: n int >= 1 = 24
-- null: no candle of the window has a path
quote_volume / (nullif(2 * (high - low) - abs(open - close), 0) / open) AS liquidity,
avg(liquidity) OVER last_n
