-- MaxDrawdown: Largest fall of the close from a high before it, within the window, as a positive fraction.
-- formula: max over i <= j of 1 - close(j) / close(i)
-- source: textbook
-- params: n int >= 1 = 24
-- null: no candle of the window is there
array_agg(close) FILTER (close IS NOT NULL) OVER last_n AS closes,
list_reduce(
    list_transform(closes, lambda x: {'top': x, 'fall': 0::DOUBLE}),
    lambda a, x: {'top': greatest(a.top, x.top), 'fall': greatest(a.fall, 1 - x.top / greatest(a.top, x.top))}
) AS state,
state.fall
