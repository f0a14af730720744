-- TakerBuyRatio: Share of the turnover that takers bought.
-- formula: sum(taker_buy_quote_asset_volume, n) / sum(quote_volume, n)
-- source: common in selection frameworks
-- params: n int >= 1 = 24
-- null: no turnover in the window
sum(taker_buy_quote_asset_volume) OVER last_n / sum(quote_volume) OVER last_n
