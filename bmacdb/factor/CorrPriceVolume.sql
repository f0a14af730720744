-- CorrPriceVolume: Correlation of close and volume.
-- formula: Pearson correlation of close and volume over n candles
-- source: common in selection frameworks; TA-Lib CORREL
-- params: n int >= 2 = 24
-- null: any candle of the look-back is missing, or either is constant
CASE WHEN count(close) OVER last_n = $n THEN corr(close, volume) OVER last_n END
