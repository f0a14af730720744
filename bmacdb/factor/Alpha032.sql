-- Alpha032: mean of seven closes above the close, and the correlation of average price and earlier close.
-- formula: (scale(((sum(close, 7) / 7) - close)) + (20 * scale(correlation(vwap, delay(close, 5), 230))))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
quote_volume / nullif(volume, 0) AS vwap,
correlation(vwap, delay(close, 5), 230) AS together,
cs_scale(sum(close) OVER last_7 / 7 - close) + 20 * cs_scale(together)
