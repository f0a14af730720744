-- Share of the turnover that takers bought.
-- formula: sum(taker_buy_quote_asset_volume, n) / sum(quote_volume, n)
-- source: common in selection frameworks
-- params: n int >= 1 = 24
-- lookback: $n
-- missing: position
-- null: no turnover in the window
list_sum(taker_buy_quote_asset_volume[pos - $n + 1 : pos]) / list_sum(quote_volume[pos - $n + 1 : pos])
