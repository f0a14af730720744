-- AvgTradeSize: Mean turnover of a trade.
-- formula: sum(quote_volume, n) / sum(trade_num, n)
-- source: textbook
-- params: n int >= 1 = 24
-- null: no trade in the window
sum(quote_volume) OVER last_n / sum(trade_num) OVER last_n
