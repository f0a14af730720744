-- Alpha041: geometric middle of the bar above its average price.
-- formula: (((high * low)^0.5) - vwap)
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
(high * low) ** 0.5 - quote_volume / nullif(volume, 0)
