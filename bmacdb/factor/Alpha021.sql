-- Alpha021: short mean outside the band of the longer one, else volume above its mean.
-- formula: ((((sum(close, 8) / 8) + stddev(close, 8)) < (sum(close, 2) / 2)) ? (-1 * 1) : (((sum(close, 2) / 2) < ((sum(close, 8) / 8) - stddev(close, 8))) ? 1 : (((1 < (volume / adv20)) || ((volume / adv20) == 1)) ? 1 : (-1 * 1))))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
sum(close) OVER last_8 / 8 AS slow,
sum(close) OVER last_2 / 2 AS fast,
stddev_samp(close) OVER last_8 AS spread,
avg(volume) OVER last_20 AS adv20,
CASE
    WHEN slow + spread < fast THEN -1
    WHEN fast < slow - spread THEN 1
    WHEN volume / nullif(adv20, 0) >= 1 THEN 1
    ELSE -1
END
