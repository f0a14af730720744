-- Correlation of close and volume.
-- formula: Pearson correlation of close and volume over n candles
-- source: common in selection frameworks; TA-Lib CORREL
-- params: n int >= 2 = 24
-- lookback: $n
-- missing: null
-- null: any candle of the look-back is missing, or either is constant
-- let price: list_avg(close[pos - $n + 1 : pos])
-- let amount: list_avg(volume[pos - $n + 1 : pos])
CASE WHEN list_max(close[pos - $n + 1 : pos]) > list_min(close[pos - $n + 1 : pos]) AND list_max(volume[pos - $n + 1 : pos]) > list_min(volume[pos - $n + 1 : pos]) THEN list_sum(list_transform(list_zip(close[pos - $n + 1 : pos], volume[pos - $n + 1 : pos]), lambda z: (z[1] - price) * (z[2] - amount))) / sqrt(list_sum(list_transform(close[pos - $n + 1 : pos], lambda x: (x - price) * (x - price))) * list_sum(list_transform(volume[pos - $n + 1 : pos], lambda x: (x - amount) * (x - amount)))) END
