-- Alpha064: -1 where correlation with turnover ranks lower than the move of the middle.
-- formula: ((rank(correlation(sum(((open * 0.178404) + (low * (1 - 0.178404))), 12.7054), sum(adv120, 12.7054), 16.6208)) < rank(delta(((((high + low) / 2) * 0.178404) + (vwap * (1 - 0.178404))), 3.69741))) * -1)
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
quote_volume / nullif(volume, 0) AS vwap,
avg(volume) OVER last_120 AS adv120,
sum(adv120) OVER last_12 AS turnover,
correlation(sum(open * 0.178404 + low * (1 - 0.178404)) OVER last_12, turnover, 16) AS together,
delta((high + low) / 2 * 0.178404 + vwap * (1 - 0.178404), 3) AS move,
-(cs_rank(together) < cs_rank(move))::DOUBLE
