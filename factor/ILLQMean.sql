-- Mean turnover per unit of price path: how much money a move takes.
-- formula: mean over n of quote_volume / (shortest path / open), shortest path = 2 * (high - low) - |open - close|; candles without a path are left out
-- source: common in selection frameworks as ILLQ
-- params: n int >= 1 = 24
-- lookback: $n
-- missing: position
-- null: no candle of the window has a path
-- series liquidity: quote_volume[t] / ((2 * (high[t] - low[t]) - abs(open[t] - close[t])) / open[t])
list_avg(liquidity[pos - $n + 1 : pos])
