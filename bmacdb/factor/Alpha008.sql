-- Alpha008: rank of the fall of summed opens times summed changes over ten bars.
-- formula: (-1 * rank(((sum(open, 5) * sum(returns, 5)) - delay((sum(open, 5) * sum(returns, 5)), 10))))
-- source: Kakushadze, 101 Formulaic Alphas (2016), arXiv:1601.00991
-- null: the candle, or every value of one of its windows, is missing
close / delay(close, 1) - 1 AS change,
-cs_rank(delta(sum(open) OVER last_5 * sum(change) OVER last_5, 10))
