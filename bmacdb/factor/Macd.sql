-- Macd: MACD histogram.
-- formula: DIF - ewm(DIF, signal); DIF = ewm(close, fast) - ewm(close, slow); ewm of a span is x + 2 / (span + 1) * (value - x), the first two begun 10 * max(fast, slow) candles back, the last 10 * signal candles back
-- source: Appel; pandas ewm(adjust=False). Without the factor 2 of Chinese charting software
-- params: fast int >= 1 = 12, slow int >= 2 = 26, signal int >= 1 = 9
-- null: any candle of the look-back is missing
ewm(close, 2 / ($fast + 1), 10 * greatest($fast, $slow)) - ewm(close, 2 / ($slow + 1), 10 * greatest($fast, $slow)) AS dif,
dif - ewm(dif, 2 / ($signal + 1), 10 * $signal)
