-- What readers ask. They run on a live recorder as well, so names are those of `main`.

-- feeds: what is recorded.
SELECT feed, market, trade_type, "interval", anchor, num_candles, created_at FROM feeds ORDER BY feed;

-- candles: the last `limit` bars of a symbol that open in [start, end), oldest first.
SELECT * EXCLUDE (feed) FROM (
    SELECT * FROM candles
    WHERE feed = $feed AND symbol = $symbol AND open_time >= $start AND open_time < $end
    ORDER BY open_time DESC LIMIT $limit
) ORDER BY open_time;

-- run_status: the items that are ready for a run time, in the order in which they came.
SELECT item, ready_at, source FROM run_status WHERE feed = $feed AND run_time = $run_time ORDER BY ready_at, item;

-- look: how far a period is: one row, also where there is nothing yet.
SELECT items, complete_at, coalesce(missing, []) AS missing
FROM (SELECT coalesce(list(item), []) AS items FROM run_status WHERE feed = $feed AND run_time = $run_time)
LEFT JOIN (SELECT complete_at, missing FROM runs WHERE feed = $feed AND run_time = $run_time) ON true;

-- expected: the symbols of the period before, as far as there is one: those that the recorder waits for.
SELECT item FROM run_status WHERE feed = $feed AND item NOT IN ('exginfo', 'funding') AND run_time = (
    SELECT max(run_time) FROM runs WHERE feed = $feed AND run_time < $run_time AND complete_at IS NOT NULL
);
