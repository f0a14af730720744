-- Alpha095: 1 where the open over its low ranks lower than the middle's correlation with turnover.
-- formula: (rank((open - ts_min(open, 12.4105))) < Ts_Rank((rank(correlation(sum(((high + low) / 2), 19.1351), sum(adv40, 19.1351), 12.8742))^5), 11.7584))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
avg(volume) OVER last_40 AS adv40,
cs_rank(correlation(sum((high + low) / 2) OVER last_19, sum(adv40) OVER last_19, 12)) ** 5 AS power,
(cs_rank(open - min(open) OVER last_12) < ts_rank(power, 11) / 11)::DOUBLE
