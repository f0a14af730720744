-- Cci: Commodity channel index.
-- formula: (TP - mean(TP, n)) / (0.015 * mean |TP - mean(TP, n)|), TP = (high + low + close) / 3
-- source: Lambert 1980; TA-Lib CCI
-- params: n int >= 2 = 14
-- null: any candle of the look-back is missing, or all typical prices are equal
(high + low + close) / 3 AS typical,
CASE WHEN max(typical) OVER last_n > min(typical) OVER last_n THEN
    (typical - avg(typical) OVER last_n) / (0.015 * mean_deviation(typical, $n))
END
