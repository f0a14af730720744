-- What is derived in `main` for the shell, from the views over all feeds. Filter by feed, and by time where there is much.

-- latest_candles: the newest candle of each symbol of each feed.
SELECT candles.*
FROM candles JOIN (SELECT feed, symbol, max(open_time) AS open_time FROM candles GROUP BY feed, symbol) AS newest
     USING (feed, symbol, open_time);

-- readiness: each period of each feed: how many symbols are expected, there by now, and were late at the deadline.
SELECT feed, run_time, expected, ready, expected - ready AS waiting, complete_at IS NOT NULL AS complete, complete_at,
       last_item, repaired, len(missing) AS late, missing AS late_symbols
FROM runs;

-- latency: seconds from each boundary until the whole market was there.
SELECT feed, run_time, epoch(complete_at - run_time) AS seconds, last_item, repaired
FROM runs WHERE complete_at IS NOT NULL;

-- coverage: what there is of each symbol: first and last open time, bars, bars on the grid from first to last, and how
-- many of those are missing.
WITH spans AS (
    SELECT feed, symbol, min(open_time) AS first_open_time, max(open_time) AS last_open_time, count(*) AS bars
    FROM candles GROUP BY feed, symbol
)
SELECT feed, symbol, first_open_time, last_open_time, bars,
       CASE feeds."interval" WHEN '1M' THEN date_diff('month', first_open_time, last_open_time)
       ELSE (epoch_ms(last_open_time) - epoch_ms(first_open_time)) // (1000 * epoch(CAST(CASE right(feeds."interval", 1)
            WHEN 's' THEN replace(feeds."interval", 's', ' second')
            WHEN 'm' THEN replace(feeds."interval", 'm', ' minute')
            WHEN 'h' THEN replace(feeds."interval", 'h', ' hour')
            WHEN 'd' THEN replace(feeds."interval", 'd', ' day')
            ELSE replace(feeds."interval", 'w', ' week') END AS INTERVAL)))::BIGINT
       END + 1 AS expected_bars,
       expected_bars - bars AS missing
FROM spans JOIN feeds USING (feed);
