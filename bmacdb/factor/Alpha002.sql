-- Alpha002: inverse correlation of growing volume and the move within the bar.
-- formula: (-1 * correlation(rank(delta(log(volume), 2)), rank(((close - open) / open)), 6))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
cs_rank((close - open) / open) AS move,
-correlation(cs_rank(delta(CASE WHEN volume > 0 THEN ln(volume) END, 2)), move, 6)
