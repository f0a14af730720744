-- Mean range per trade.
-- formula: mean over n of (high - low) / open / trade_num; candles without trades are left out
-- source: the predecessor's example
-- params: n int >= 1 = 80
-- lookback: $n
-- missing: position
-- null: no candle of the window has a trade
-- series per_trade: (high[t] - low[t]) / open[t] / trade_num[t]
list_avg(per_trade[pos - $n + 1 : pos])
