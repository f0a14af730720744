-- What the recorder asks its own file. Times go in and come out as milliseconds since the epoch.

-- stored_feed: what the file knows of a feed.
SELECT epoch_ms(anchor), num_candles FROM main.feeds WHERE feed = $feed;

-- new_feed: note a feed.
INSERT INTO main.feeds
VALUES ($feed, $market, $trade_type, $interval, make_timestamptz(1000::BIGINT * $anchor_ms), $num_candles,
        make_timestamptz(1000::BIGINT * $now_ms), make_timestamptz(1000::BIGINT * $now_ms));

-- change_feed: note a feed's new depth or grid.
UPDATE main.feeds
SET num_candles = $num_candles, anchor = make_timestamptz(1000::BIGINT * $anchor_ms),
    updated_at = make_timestamptz(1000::BIGINT * $now_ms)
WHERE feed = $feed;

-- latest: the newest open time of each symbol.
SELECT symbol, epoch_ms(max(open_time)) FROM candles GROUP BY symbol;

-- trading: the symbols that traded when exchange info was last written.
SELECT symbol FROM exginfo GROUP BY symbol HAVING arg_max(status, valid_from) = 'TRADING';

-- provisional: the bars that REST gave too soon after their close, and nothing has confirmed yet.
SELECT symbol, epoch_ms(open_time) FROM candles WHERE source = 'provisional' ORDER BY open_time;

-- last_funding_times: the newest settled funding of each symbol.
SELECT symbol, epoch_ms(max(funding_time)) FROM funding_rates GROUP BY symbol;

-- gaps: the holes in the given states, oldest first.
SELECT symbol, epoch_ms(gap_start), epoch_ms(gap_end), state, reason, epoch_ms(found_at), epoch_ms(closed_at)
FROM gaps WHERE list_contains($states, state) ORDER BY gap_start, symbol;

-- unfinished_runs: the periods that expected something and never got complete, with the items that were ready, oldest first. What REST brought
-- is counted anew: the row of a run is written when it opens, at its deadline and in the end, and a kill comes between.
SELECT epoch_ms(run_time), runs.expected, runs.ready, runs.last_item,
       count(run_status.item) FILTER (run_status.source <> 'ws' AND run_status.item NOT IN ('exginfo', 'funding')),
       runs.missing,
       list(run_status.item) FILTER (run_status.item IS NOT NULL)
FROM runs LEFT JOIN run_status USING (run_time)
WHERE runs.complete_at IS NULL AND runs.expected > 0 AND runs.run_time >= make_timestamptz(1000::BIGINT * $since_ms)
GROUP BY ALL ORDER BY 1;
