-- MaxDrawdown: Largest fall of the close from a high before it, within the window, as a positive fraction.
-- formula: max over i <= j of 1 - close(j) / close(i)
-- source: textbook
-- params: n int >= 1 = 24
-- null: no candle of the window is there
drawdown(close, $n)
