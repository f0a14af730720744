-- What is derived in `main` for the shell, from the views over all feeds. Filter by feed, and by time where there is much.

-- readiness: each period of each feed: how many symbols are expected, there by now, and were late at the deadline.
SELECT feed, run_time, expected, ready, expected - ready AS waiting, complete_at IS NOT NULL AS complete, complete_at,
       last_item, repaired, len(missing) AS late, missing AS late_symbols, state
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

-- flat_tails: symbols whose last bars have had no trades for a day or more: the exchange's archive goes on printing flat
-- bars when a symbol has been settled or delisted. `bars` are those after the last one with trades; `delivery_date` is
-- the exchange's, where it tells one. Later bars with trades, once they are recorded, end it.
WITH ends AS (
    SELECT feed, symbol, max(open_time) FILTER (trade_num > 0) AS last_traded, max(open_time) AS last_open_time
    FROM candles GROUP BY feed, symbol
), rules AS (
    SELECT feed, symbol, arg_max(delivery_date, valid_from) AS delivery_date FROM exginfo GROUP BY feed, symbol
)
SELECT feed, symbol, last_traded, last_open_time, count(*) AS bars, any_value(delivery_date) AS delivery_date
FROM ends JOIN candles USING (feed, symbol) LEFT JOIN rules USING (feed, symbol)
WHERE (last_traded IS NULL OR (candles.open_time > last_traded AND last_open_time - last_traded >= INTERVAL 1 DAY))
GROUP BY ALL;

-- splits: where a ticker was used again: a pause in trading of two days, or of one with a move of ten per cent, before
-- `start`. Parts are called SP0_SYMBOL, SP1_SYMBOL, …, the last one has the name itself; each goes from its first bar to
-- its last with trades. (bmacdb history split takes other thresholds.)
WITH days AS (
    SELECT feed, symbol, time_bucket(INTERVAL 1 DAY, open_time) AS day, min(open_time) AS first, max(open_time) AS last,
           arg_min(open, open_time) AS open, arg_max(close, open_time) AS close
    FROM candles WHERE volume > 0 GROUP BY ALL
), steps AS (
    SELECT feed, symbol, first, last, first - lag(last) OVER by_day AS pause,
           open / lag(close) OVER by_day - 1 AS move
    FROM days WINDOW by_day AS (PARTITION BY feed, symbol ORDER BY day)
), numbered AS (
    SELECT *, count(*) FILTER (pause > INTERVAL 2 DAY OR (pause > INTERVAL 1 DAY AND abs(move) >= 0.1))
                  OVER (PARTITION BY feed, symbol ORDER BY first) AS number
    FROM steps
), parts AS (
    SELECT feed, symbol, number, min(first) AS start, max(last) AS last_open_time, arg_min(pause, first) AS pause,
           arg_min(move, first) AS move
    FROM numbered GROUP BY ALL
)
SELECT feed, symbol,
       CASE WHEN number = max(number) OVER (PARTITION BY feed, symbol) THEN symbol
       ELSE 'SP' || number || '_' || symbol END AS name,
       start, last_open_time, CASE WHEN number > 0 THEN pause END AS pause, CASE WHEN number > 0 THEN move END AS move
FROM parts;

-- split_candles: candles under split names; those between two parts, which have no trades, are left out.
SELECT candles.feed, splits.name, candles.* EXCLUDE (feed)
FROM candles JOIN splits USING (feed, symbol)
WHERE candles.open_time >= splits.start AND (candles.open_time <= splits.last_open_time OR splits.name = splits.symbol);
