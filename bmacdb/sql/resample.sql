-- Bars of a longer interval at every offset. `base` stands for the schema of the feed that they are made of, `derived`
-- for that in which they are kept; both, and words in braces, are put in before a statement runs (`bmacdb.store.resample`).
-- Times and lengths come as milliseconds.

-- resampled: the table of what is derived from which feed.
CREATE TABLE IF NOT EXISTS main.resampled (
    feed       VARCHAR     NOT NULL,  -- the schema's name: usdt_perp_5m_to_1h
    base       VARCHAR     NOT NULL,  -- the feed it is made of: usdt_perp_5m
    "interval" VARCHAR     NOT NULL,  -- of the bars: 1h
    offsets    INTEGER[]   NOT NULL,  -- minutes
    created_at TIMESTAMPTZ NOT NULL
);

-- derived_candles: the bars. The key is symbol and open_time: bars of different offsets open at different times.
CREATE TABLE IF NOT EXISTS derived.candles (
    symbol                       VARCHAR     NOT NULL,
    open_time                    TIMESTAMPTZ NOT NULL,
    "offset"                     INTEGER     NOT NULL,  -- minutes from the grid of the longer interval
    open                         DOUBLE      NOT NULL,
    high                         DOUBLE      NOT NULL,
    low                          DOUBLE      NOT NULL,
    close                        DOUBLE      NOT NULL,
    volume                       DOUBLE      NOT NULL,
    quote_volume                 DOUBLE      NOT NULL,
    trade_num                    BIGINT      NOT NULL,
    taker_buy_base_asset_volume  DOUBLE      NOT NULL,
    taker_buy_quote_asset_volume DOUBLE      NOT NULL,
    vwap_1m                      DOUBLE,                -- of the first minute; null without 1m bars
    funding_rate                 DOUBLE,                -- the first one within the bar that is not 0; null without
    funding_price                DOUBLE,                -- open of the part in which it was settled
    funding_time                 TIMESTAMPTZ,           -- when that part opened
    recorded_at                  TIMESTAMPTZ NOT NULL
);

-- derived_run_status: which bars are there, as of a feed.
CREATE TABLE IF NOT EXISTS derived.run_status (
    run_time TIMESTAMPTZ NOT NULL,
    item     VARCHAR     NOT NULL,
    ready_at TIMESTAMPTZ NOT NULL,
    source   VARCHAR     NOT NULL
);

-- derived_runs: one row a run time, as of a feed: complete_at once the feed's own run is complete and its bars are made.
CREATE TABLE IF NOT EXISTS derived.runs (
    run_time    TIMESTAMPTZ NOT NULL,
    expected    INTEGER     NOT NULL,
    ready       INTEGER     NOT NULL,
    complete_at TIMESTAMPTZ,
    last_item   VARCHAR,
    repaired    INTEGER     NOT NULL,
    missing     VARCHAR[]   NOT NULL, -- symbols that traded then and have a hole within the bar
    state       VARCHAR     NOT NULL
);

-- codes: a number for each symbol, so that one integer says which bar of which symbol a row is.
-- (By name: where a period lies in that order too, there is less to sort.)
SELECT symbol, row_number() OVER (ORDER BY symbol)::{integer} AS code
FROM (
    SELECT DISTINCT symbol
    FROM base.candles
    WHERE open_time >= make_timestamptz(1000::BIGINT * $start) AND open_time < make_timestamptz(1000::BIGINT * $end)
      AND ($symbols IS NULL OR list_contains($symbols::VARCHAR[], symbol))
);

-- parts: the bars that go into bars, sorted by symbol and time: all that follows reads them in this order, a row at a
-- time. (A window over partitions would sort them anew for every step; this way every offset costs one sort together,
-- and sorting by one integer takes half of what a text and a time do; less still where 32 bits of it are enough.)
SELECT (codes.code << {bits}) + (epoch_ms(open_time) // $step - {first})::{integer} AS key,
       open, close{vwap}, high AS high_p, low AS low_p,
       volume AS volume_p, quote_volume AS quote_volume_p, trade_num AS trade_num_p,
       taker_buy_base_asset_volume AS taker_buy_base_asset_volume_p,
       taker_buy_quote_asset_volume AS taker_buy_quote_asset_volume_p
FROM base.candles JOIN codes USING (symbol)
WHERE open_time >= make_timestamptz(1000::BIGINT * $start) AND open_time < make_timestamptz(1000::BIGINT * $end)
ORDER BY key;

-- summed: the last step: rows that have all their parts behind them, as bars.
SELECT key, lag(open, {behind}) OVER () AS open, high_a AS high, low_a AS low, close, volume_a AS volume,
       quote_volume_a AS quote_volume, trade_num_a AS trade_num,
       taker_buy_base_asset_volume_a AS taker_buy_base_asset_volume,
       taker_buy_quote_asset_volume_a AS taker_buy_quote_asset_volume, {vwap} AS vwap_1m
FROM {last}
QUALIFY lag(key, {behind}) OVER () = key - {behind};

-- bars: the same under their names: the symbol, when they opened, and how far that is from the grid.
SELECT symbol, make_timestamptz(1000::BIGINT * $step * ((key & {mask}) + {opened}::BIGINT)) AS open_time,
       ((((key & {mask}) + {place}) % {parts} * $step::INTEGER + {rest}) // 60000)::INTEGER AS "offset",
       summed.* EXCLUDE (key)
FROM summed JOIN codes ON codes.code = key >> {bits};

-- ending: the bars of one open time, which takes no window: in place of all of the above. (Its sums may differ from
-- those in the last digit, since they are added in another order.)
SELECT symbol, make_timestamptz(1000::BIGINT * $start) AS open_time,
       (($start - $anchor) % $length // 60000)::INTEGER AS "offset", arg_min(open, open_time) AS open, max(high) AS high,
       min(low) AS low, arg_max(close, open_time) AS close, sum(volume) AS volume, sum(quote_volume) AS quote_volume,
       sum(trade_num)::BIGINT AS trade_num, sum(taker_buy_base_asset_volume) AS taker_buy_base_asset_volume,
       sum(taker_buy_quote_asset_volume) AS taker_buy_quote_asset_volume, arg_min({vwap}, open_time) AS vwap_1m
FROM base.candles
WHERE open_time >= make_timestamptz(1000::BIGINT * $start) AND open_time < make_timestamptz(1000::BIGINT * $end)
GROUP BY symbol HAVING count(*) = {parts};

-- vwap: the mean price of a minute within its range, as the predecessor has it: its open where nothing was traded.
CASE WHEN volume > 0 THEN least(greatest(quote_volume / volume, low), high) ELSE open END;

-- minutes: the mean prices of the minutes in which bars open.
SELECT symbol, open_time, {vwap} AS vwap
FROM minute.candles
WHERE open_time >= make_timestamptz(1000::BIGINT * $start) AND open_time < make_timestamptz(1000::BIGINT * $end)
  AND epoch_ms(open_time) % $step = 0;

-- funding: of each bar the first funding that is not 0: one row a bar that has one. Settled fundings carry the moment
-- at which they were noted, some milliseconds late, and belong to the part that this moment lies in.
SELECT symbol, open_time - to_milliseconds(back * $step) AS open_time, arg_min(rate, open_time) AS funding_rate,
       arg_min(price, open_time) AS funding_price, min(open_time) AS funding_time
FROM (
    SELECT candles.symbol, candles.open_time, candles.open AS price, rates.rate
    FROM (
        SELECT symbol, make_timestamptz(1000 * (epoch_ms(funding_time) // $step * $step)) AS open_time,
               first(funding_rate ORDER BY funding_time, rate_type) AS rate
        FROM base.funding_rates
        WHERE abs(funding_rate) > 1e-6
          AND funding_time >= make_timestamptz(1000::BIGINT * $start) AND funding_time < make_timestamptz(1000::BIGINT * $end)
        GROUP BY 1, 2
    ) AS rates
    JOIN base.candles AS candles ON candles.symbol = rates.symbol AND candles.open_time = rates.open_time
    WHERE candles.open_time >= make_timestamptz(1000::BIGINT * $start) AND candles.open_time < make_timestamptz(1000::BIGINT * $end)
), range({parts}) AS backs(back)
GROUP BY symbol, open_time - to_milliseconds(back * $step);

-- add: keep bars of which none is there yet; answers with them.
INSERT INTO derived.candles SELECT *, make_timestamptz(1000::BIGINT * $now) FROM ({made}) RETURNING *;

-- mend: keep of the bars in the slot `new_bars` those that are not there, and put those that came out differently in the place of the kept ones.
MERGE INTO derived.candles AS kept USING (SELECT *, make_timestamptz(1000::BIGINT * $now) AS recorded_at FROM new_bars) AS made
ON kept.symbol = made.symbol AND kept.open_time = made.open_time
   AND kept.open_time >= make_timestamptz(1000::BIGINT * $first) AND kept.open_time < make_timestamptz(1000::BIGINT * $last)
WHEN MATCHED AND (
    (kept.open, kept.high, kept.low, kept.close, kept.trade_num, kept.vwap_1m, kept.funding_rate, kept.funding_price,
     kept.funding_time)
    IS DISTINCT FROM
    (made.open, made.high, made.low, made.close, made.trade_num, made.vwap_1m, made.funding_rate, made.funding_price,
     made.funding_time)
    OR abs(kept.volume - made.volume) > 1e-12 * made.volume
    OR abs(kept.quote_volume - made.quote_volume) > 1e-12 * made.quote_volume
    OR abs(kept.taker_buy_base_asset_volume - made.taker_buy_base_asset_volume) > 1e-12 * made.volume
    OR abs(kept.taker_buy_quote_asset_volume - made.taker_buy_quote_asset_volume) > 1e-12 * made.quote_volume
) THEN UPDATE
WHEN NOT MATCHED THEN INSERT
RETURNING merge_action, *;

-- lacking: the symbols that traded before the bars that open at $start, and in their last part, and lack a part between.
SELECT symbol
FROM base.candles
WHERE open_time >= make_timestamptz(1000 * ($start - $length)) AND open_time < make_timestamptz(1000::BIGINT * $end)
GROUP BY symbol
HAVING min(open_time) <= make_timestamptz(1000::BIGINT * $start) AND max(open_time) = make_timestamptz(1000 * ($end - $step))
   AND count(*) FILTER (open_time >= make_timestamptz(1000::BIGINT * $start)) < $parts
ORDER BY symbol;

-- clear_run: make room for the newest word on a run time.
DELETE FROM derived.runs WHERE run_time = make_timestamptz(1000::BIGINT * $run_time);

-- add_run: note how far the bars of a run time are.
INSERT INTO derived.runs
VALUES (make_timestamptz(1000::BIGINT * $run_time), $expected, $ready,
        make_timestamptz(1000::BIGINT * $complete_at), NULL, $repaired, $missing::VARCHAR[],
        CASE WHEN $complete_at IS NOT NULL THEN 'complete' WHEN len($missing::VARCHAR[]) > 0 THEN 'late' ELSE 'open' END);

-- add_ready: note the bars of a run time that are there.
INSERT INTO derived.run_status
SELECT make_timestamptz(1000::BIGINT * $run_time), symbol, make_timestamptz(1000::BIGINT * $now), 'resample'
FROM (SELECT unnest($symbols::VARCHAR[]) AS symbol)
WHERE symbol NOT IN (SELECT item FROM derived.run_status WHERE run_time = make_timestamptz(1000::BIGINT * $run_time));

-- noted: the run times of which something is noted already.
SELECT epoch_ms(run_time), epoch_ms(complete_at), repaired FROM derived.runs
WHERE run_time >= make_timestamptz(1000::BIGINT * $start) AND run_time < make_timestamptz(1000::BIGINT * $end);

-- ready: how many bars of a run time there are.
SELECT count(*) FROM derived.candles WHERE open_time = make_timestamptz(1000::BIGINT * $open_time);

-- made_until: when the last bar opened that is kept.
SELECT epoch_ms(max(open_time)) FROM derived.candles;

-- drop_before: let bars go that opened before a moment.
DELETE FROM derived.candles WHERE open_time < make_timestamptz(1000::BIGINT * $before);

-- drop_status_before: let readiness of run times before go.
DELETE FROM derived.run_status WHERE run_time <= make_timestamptz(1000::BIGINT * $before);

-- drop_runs_before: let run times before go.
DELETE FROM derived.runs WHERE run_time <= make_timestamptz(1000::BIGINT * $before);
