-- Alpha036: five ranks of price and volume, weighted.
-- formula: (((((2.21 * rank(correlation((close - open), delay(volume, 1), 15))) + (0.7 * rank((open - close)))) + (0.73 * rank(Ts_Rank(delay((-1 * returns), 6), 5)))) + rank(abs(correlation(vwap, adv20, 6)))) + (0.6 * rank((((sum(close, 200) / 200) - open) * (close - open)))))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
quote_volume / nullif(volume, 0) AS vwap,
close / delay(close, 1) - 1 AS change,
avg(volume) OVER last_20 AS adv20,
correlation(close - open, delay(volume, 1), 15) AS body_volume,
ts_rank(delay(-change, 6), 5) / 5 AS earlier_rank,
abs(correlation(vwap, adv20, 6)) AS price_turnover,
(sum(close) OVER last_200 / 200 - open) * (close - open) AS pull,
2.21 * cs_rank(body_volume) + 0.7 * cs_rank(open - close) + 0.73 * cs_rank(earlier_rank) + cs_rank(price_turnover) + 0.6 * cs_rank(pull)
