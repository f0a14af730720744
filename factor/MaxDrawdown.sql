-- Largest fall of the close from a high before it, within the window, as a positive fraction.
-- formula: max over i <= j of 1 - close(j) / close(i)
-- source: textbook
-- params: n int >= 1 = 24
-- lookback: $n
-- missing: position
-- null: no candle of the window is there
list_reduce(list_transform(nullif(list_filter(close[pos - $n + 1 : pos], lambda x: x IS NOT NULL), []), lambda x: {'top': x, 'fall': 0.0::DOUBLE}), lambda a, x: {'top': greatest(a.top, x.top), 'fall': greatest(a.fall, 1 - x.top / greatest(a.top, x.top))}).fall
