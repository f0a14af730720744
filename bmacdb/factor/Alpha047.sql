-- Alpha047: cheap and active, closing off a high above its mean, less the move of the average price.
-- formula: ((((rank((1 / close)) * volume) / adv20) * ((high * rank((high - close))) / (sum(high, 5) / 5))) - rank((vwap - delay(vwap, 5))))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
quote_volume / nullif(volume, 0) AS vwap,
avg(volume) OVER last_20 AS adv20,
sum(high) OVER last_5 / 5 AS mean_high,
delta(vwap, 5) AS move,
cs_rank(1 / close) * volume / nullif(adv20, 0) * (high * cs_rank(high - close) / mean_high) - cs_rank(move)
