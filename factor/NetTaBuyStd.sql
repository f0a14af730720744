-- Variation of the net taker buying: sample standard deviation of its share of the turnover.
-- formula: std over n of 2 * taker_buy_quote_asset_volume / quote_volume - 1, ddof 1; candles without turnover are left out
-- source: after the predecessor's author's factor of that name
-- params: n int >= 2 = 24
-- lookback: $n
-- missing: position
-- null: fewer than two candles with turnover
-- series net_buy: 2 * taker_buy_quote_asset_volume[t] / quote_volume[t] - 1
list_stddev_samp(net_buy[pos - $n + 1 : pos])
