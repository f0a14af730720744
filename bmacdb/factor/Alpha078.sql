-- Alpha078: correlation of price with turnover, to the power of that of average price with volume.
-- formula: (rank(correlation(sum(((low * 0.352233) + (vwap * (1 - 0.352233))), 19.7428), sum(adv40, 19.7428), 6.83313))^rank(correlation(rank(vwap), rank(volume), 5.77492)))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
quote_volume / nullif(volume, 0) AS vwap,
avg(volume) OVER last_40 AS adv40,
sum(adv40) OVER last_19 AS turnover,
correlation(sum(low * 0.352233 + vwap * (1 - 0.352233)) OVER last_19, turnover, 6) AS price_turnover,
cs_rank(price_turnover) ** cs_rank(correlation(cs_rank(vwap), cs_rank(volume), 5))
