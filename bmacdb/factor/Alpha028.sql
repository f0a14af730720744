-- Alpha028: correlation of turnover and low, and the middle of the bar against its close, scaled over the market.
-- formula: scale(((correlation(adv20, low, 5) + ((high + low) / 2)) - close))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
avg(volume) OVER last_20 AS adv20,
cs_scale(correlation(adv20, low, 5) + (high + low) / 2 - close)
