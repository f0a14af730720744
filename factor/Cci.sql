-- Commodity channel index.
-- formula: (TP - mean(TP, n)) / (0.015 * mean |TP - mean(TP, n)|), TP = (high + low + close) / 3
-- source: Lambert 1980; TA-Lib CCI
-- params: n int >= 2 = 14
-- lookback: $n
-- missing: null
-- null: any candle of the look-back is missing, or all typical prices are equal
-- series typical: (high[t] + low[t] + close[t]) / 3
-- let middle: list_avg(typical[pos - $n + 1 : pos])
CASE WHEN list_max(typical[pos - $n + 1 : pos]) > list_min(typical[pos - $n + 1 : pos]) THEN (typical[pos] - middle) / (0.015 * list_avg(list_transform(typical[pos - $n + 1 : pos], lambda x: abs(x - middle)))) END
