-- Alpha005: open above the mean average price, weighted by the distance of the close from it.
-- formula: (rank((open - (sum(vwap, 10) / 10))) * (-1 * abs(rank((close - vwap)))))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
quote_volume / nullif(volume, 0) AS vwap,
cs_rank(open - sum(vwap) OVER last_10 / 10) * -abs(cs_rank(close - vwap))
