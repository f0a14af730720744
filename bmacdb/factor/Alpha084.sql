-- Alpha084: average price near its high, to the power of the move of the close.
-- formula: SignedPower(Ts_Rank((vwap - ts_max(vwap, 15.3217)), 20.7127), delta(close, 4.96796))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
quote_volume / nullif(volume, 0) AS vwap,
(ts_rank(vwap - max(vwap) OVER last_15, 20) / 20) ** delta(close, 4)
