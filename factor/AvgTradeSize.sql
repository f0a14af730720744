-- Mean turnover of a trade.
-- formula: sum(quote_volume, n) / sum(trade_num, n)
-- source: textbook
-- params: n int >= 1 = 24
-- lookback: $n
-- missing: position
-- null: no trade in the window
list_sum(quote_volume[pos - $n + 1 : pos]) / list_sum(trade_num[pos - $n + 1 : pos])
