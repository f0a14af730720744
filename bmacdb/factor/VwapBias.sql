-- VwapBias: Distance of the close from the volume weighted average price of n candles.
-- formula: close / (sum(quote_volume, n) / sum(volume, n)) - 1
-- source: common in selection frameworks; meaningless on COIN-M, where volume counts contracts
-- params: n int >= 1 = 24
-- null: no volume in the window
close / (sum(quote_volume) OVER last_n / sum(volume) OVER last_n) - 1
