-- TrdNumMeanV1: Mean range per trade.
-- formula: mean over n of (high - low) / open / trade_num; candles without trades are left out
-- source: the predecessor's example
-- params: n int >= 1 = 80
-- null: no candle of the window has a trade
(high - low) / open / nullif(trade_num, 0) AS per_trade,
avg(per_trade) OVER last_n
