-- Alpha025: rank of falls with turnover that closed off their high.
-- formula: rank(((((-1 * returns) * adv20) * vwap) * (high - close)))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
quote_volume / nullif(volume, 0) AS vwap,
close / delay(close, 1) - 1 AS change,
cs_rank(-change * avg(volume) OVER last_20 * vwap * (high - close))
