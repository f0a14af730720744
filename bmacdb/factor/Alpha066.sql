-- Alpha066: fading move of the average price and fading distance of the low from it, reversed.
-- formula: ((rank(decay_linear(delta(vwap, 3.51013), 7.23052)) + Ts_Rank(decay_linear(((((low * 0.96633) + (low * (1 - 0.96633))) - vwap) / (open - ((high + low) / 2))), 11.4157), 6.72611)) * -1)
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
quote_volume / nullif(volume, 0) AS vwap,
decay_linear((low * 0.96633 + low * (1 - 0.96633) - vwap) / nullif(open - (high + low) / 2, 0), 11) AS fading_distance,
-(cs_rank(decay_linear(delta(vwap, 3), 7)) + ts_rank(fading_distance, 6) / 6)
