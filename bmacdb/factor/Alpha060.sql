-- Alpha060: volume at the top of the bar against how long ago the high was.
-- formula: (0 - (1 * ((2 * scale(rank(((((close - low) - (high - close)) / (high - low)) * volume)))) - scale(rank(ts_argmax(close, 10))))))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
cs_rank(((close - low) - (high - close)) / nullif(high - low, 0) * volume) AS flow_rank,
-(2 * cs_scale(flow_rank) - cs_scale(cs_rank(ts_argmax(close, 10))))
