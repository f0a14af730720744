-- Alpha055: inverse correlation of the ranks of the stochastic and of volume.
-- formula: (-1 * correlation(rank(((close - ts_min(low, 12)) / (ts_max(high, 12) - ts_min(low, 12)))), rank(volume), 6))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
cs_rank((close - min(low) OVER last_12) / nullif(max(high) OVER last_12 - min(low) OVER last_12, 0)) AS stochastic_rank,
-correlation(stochastic_rank, cs_rank(volume), 6)
