-- Mfi: Money flow index, 0 to 100.
-- formula: 100 * rising flow / (rising + falling flow) over n candles, flow = TP * volume by the sign of TP's change
-- source: Quong and Soudack 1989; TA-Lib MFI
-- params: n int >= 1 = 14
-- null: any candle of the look-back is missing, or there is no flow
(high + low + close) / 3 AS typical,
typical - lag(typical) OVER bars AS change,
CASE WHEN change > 0 THEN typical * volume ELSE 0 END AS rising,
CASE WHEN change < 0 THEN typical * volume ELSE 0 END AS falling,
CASE WHEN count(change) OVER last_n = $n THEN 100 * sum(rising) OVER last_n / (sum(rising) OVER last_n + sum(falling) OVER last_n) END
