-- NetTaBuyStd: Variation of the net taker buying: sample standard deviation of its share of the turnover.
-- formula: std over n of 2 * taker_buy_quote_asset_volume / quote_volume - 1, ddof 1; candles without turnover are left out
-- source: after the predecessor's author's factor of that name
-- params: n int >= 2 = 24
-- null: fewer than two candles with turnover
2 * taker_buy_quote_asset_volume / nullif(quote_volume, 0) - 1 AS net_buy,
stddev(net_buy) OVER last_n
