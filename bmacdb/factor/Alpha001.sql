-- Alpha001: rank of where, within five bars, falls were wildest or the close highest.
-- formula: (rank(Ts_ArgMax(SignedPower(((returns < 0) ? stddev(returns, 20) : close), 2.), 5)) - 0.5)
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
close / delay(close, 1) - 1 AS change,
CASE WHEN change < 0 THEN stddev_samp(change) OVER last_20 ELSE close END AS base,
cs_rank(ts_argmax(sign(base) * base * base, 5)) - 0.5
