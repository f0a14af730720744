-- Alpha068: -1 where the correlation of high and turnover ranks lower than the move of the close.
-- formula: ((Ts_Rank(correlation(rank(high), rank(adv15), 8.91644), 13.9333) < rank(delta(((close * 0.518371) + (low * (1 - 0.518371))), 1.06157))) * -1)
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
avg(volume) OVER last_15 AS adv15,
delta(close * 0.518371 + low * (1 - 0.518371), 1) AS move,
-(ts_rank(correlation(cs_rank(high), cs_rank(adv15), 8), 13) / 13 < cs_rank(move))::DOUBLE
