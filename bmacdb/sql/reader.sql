-- What readers ask. They run on a live recorder as well, so names are those of `main`.

-- feeds: what is recorded.
SELECT feed, market, trade_type, "interval", anchor, num_candles, created_at FROM feeds ORDER BY feed;

-- derived: the schema of that name, if it holds bars that are made of a feed's.
SELECT schema_name FROM duckdb_tables() WHERE table_name = 'candles' AND schema_name = $feed;

-- symbols: every symbol that exchange info or a candle of a feed has.
SELECT symbol FROM exginfo WHERE feed = $feed UNION SELECT symbol FROM candles WHERE feed = $feed ORDER BY symbol;

-- listed: every symbol that exchange info had.
SELECT DISTINCT symbol FROM exginfo WHERE feed = $feed;

-- symbol_counts: how many candles of each symbol open in [start, end), in the order of symbols.
SELECT symbol, count(*) FROM feed.candles
WHERE open_time >= $start AND open_time < $end AND ($symbols IS NULL OR list_contains($symbols::VARCHAR[], symbol))
GROUP BY symbol ORDER BY symbol;

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

-- status: each feed: its newest run, its newest complete one, how long the last thousand took, holes and bars.
SELECT feeds.feed, feeds."interval", feeds.anchor, newest.run_time, newest.ready, newest.expected, newest.missing, newest.state,
       done.run_time AS complete_run_time, done.seconds_last, done.seconds_p50, done.seconds_p99,
       coalesce(holes.open_gaps, 0) AS open_gaps, coalesce(bars.rows, 0) AS rows
FROM feeds
LEFT JOIN (
    SELECT feed, max(run_time) AS run_time, max_by(ready, run_time) AS ready, max_by(expected, run_time) AS expected,
           max_by(missing, run_time) AS missing, max_by(state, run_time) AS state
    FROM runs GROUP BY feed
) AS newest USING (feed)
LEFT JOIN (
    SELECT feed, max(run_time) AS run_time, max_by(seconds, run_time) AS seconds_last,
           quantile_cont(seconds, 0.5) AS seconds_p50, quantile_cont(seconds, 0.99) AS seconds_p99
    FROM (FROM latency QUALIFY row_number() OVER (PARTITION BY feed ORDER BY run_time DESC) <= 1000) GROUP BY feed
) AS done USING (feed)
LEFT JOIN (SELECT feed, count(*) AS open_gaps FROM gaps WHERE state = 'open' GROUP BY feed) AS holes USING (feed)
LEFT JOIN (SELECT feed, count(*) AS rows FROM candles GROUP BY feed) AS bars USING (feed)
ORDER BY feeds.feed;

-- stragglers: the symbols that a run time still waits for: those of the complete one before it that are not there yet.
SELECT item FROM run_status AS before
WHERE feed = $feed AND run_time = $complete_run_time AND item NOT IN ('exginfo', 'funding')
  AND item NOT IN (SELECT item FROM run_status WHERE feed = $feed AND run_time = $run_time)
ORDER BY item;

-- layout: every table and view with its columns, in their order.
SELECT schema_name, table_name, column_name FROM duckdb_columns()
WHERE database_name = current_database() AND NOT internal ORDER BY schema_name, table_name, column_index;

-- macros: the macros of the database: schema, name, macro or table_macro, parameters, and the text of those that compute a value.
SELECT schema_name, function_name, function_type, parameters, CASE WHEN function_type = 'macro' THEN macro_definition END
FROM duckdb_functions() WHERE database_name = current_database() AND NOT internal ORDER BY function_oid;
