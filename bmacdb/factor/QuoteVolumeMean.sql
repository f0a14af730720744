-- QuoteVolumeMean: Mean turnover.
-- formula: mean(quote_volume, n)
-- source: common in selection frameworks
-- params: n int >= 1 = 24
-- null: no candle of the window is there
avg(quote_volume) OVER last_n
