-- Mom: Momentum in price units.
-- formula: close(t) - close(t - n)
-- source: Murphy, Technical Analysis of the Financial Markets, ch. 10; TA-Lib MOM
-- params: n int >= 1 = 10
-- null: either of the two candles is missing
close - lag(close, $n) OVER bars
