-- The statements of one transaction. Each table has a slot of the same name with `new_` before it, in which its rows
-- travel; no key guards the tables, so every one of these must keep its table free of duplicates. Rows within a slot
-- have distinct keys. `$start` and `$end` are the least and the greatest time in the slot, in microseconds, so that
-- DuckDB skips the row groups beside. The `add_` statements are prepared once (DuckDB cannot prepare a MERGE), and look
-- nothing up: of every join that it hashes, a MERGE's too, DuckDB 1.5 keeps some hundred bytes in the queue of what it
-- may evict, and clears that up at 30 MB, so that what is done every period had better do without.

-- add_candles: add bars that are later than all of their symbol: nothing to look up.
INSERT INTO candles FROM new_candles;

-- candles: add the bars that are not there; answers with those.
MERGE INTO candles AS recorded USING new_candles AS later
ON recorded.symbol = later.symbol AND recorded.open_time = later.open_time
   AND recorded.open_time BETWEEN make_timestamptz($start) AND make_timestamptz($end)
WHEN NOT MATCHED THEN INSERT
RETURNING *;

-- disagreeing: the recorded version of the bars that the slot has differently, or confirms for the first time.
SELECT recorded.symbol, epoch_ms(recorded.open_time), recorded.open, recorded.high, recorded.low, recorded.close,
       recorded.volume, recorded.quote_volume, recorded.trade_num, recorded.taker_buy_base_asset_volume,
       recorded.taker_buy_quote_asset_volume, recorded.source
FROM candles AS recorded JOIN new_candles AS later
     ON recorded.symbol = later.symbol AND recorded.open_time = later.open_time
WHERE recorded.open_time BETWEEN make_timestamptz($start) AND make_timestamptz($end)
  AND (   recorded.open IS DISTINCT FROM later.open
       OR recorded.high IS DISTINCT FROM later.high
       OR recorded.low IS DISTINCT FROM later.low
       OR recorded.close IS DISTINCT FROM later.close
       OR recorded.volume IS DISTINCT FROM later.volume
       OR recorded.quote_volume IS DISTINCT FROM later.quote_volume
       OR recorded.trade_num IS DISTINCT FROM later.trade_num
       OR recorded.taker_buy_base_asset_volume IS DISTINCT FROM later.taker_buy_base_asset_volume
       OR recorded.taker_buy_quote_asset_volume IS DISTINCT FROM later.taker_buy_quote_asset_volume
       OR (recorded.source IN ('fill', 'provisional') AND later.source <> recorded.source));

-- replace_candles: put the versions of the slot in the place of the recorded ones.
MERGE INTO candles AS recorded USING new_candles AS later
ON recorded.symbol = later.symbol AND recorded.open_time = later.open_time
   AND recorded.open_time BETWEEN make_timestamptz($start) AND make_timestamptz($end)
WHEN MATCHED THEN UPDATE;

-- corrections: note both versions of bars that sources disagree on.
INSERT INTO corrections FROM new_corrections;

-- add_run_status: add readiness that is later than all of its items.
INSERT INTO run_status FROM new_run_status;

-- run_status: add what is ready; a first readiness stays.
MERGE INTO run_status AS recorded USING new_run_status AS later
ON recorded.run_time = later.run_time AND recorded.item = later.item
   AND recorded.run_time BETWEEN make_timestamptz($start) AND make_timestamptz($end)
WHEN NOT MATCHED THEN INSERT;

-- clear_runs: make room for the newest word on periods; a third of what MERGE takes for a row or two.
DELETE FROM runs
WHERE run_time BETWEEN make_timestamptz($start) AND make_timestamptz($end) AND list_contains($times, epoch_us(run_time));

-- add_runs: add periods that are not there.
INSERT INTO runs FROM new_runs;

-- gaps: the newest word on a hole replaces the one before.
MERGE INTO gaps AS recorded USING new_gaps AS later
ON recorded.symbol = later.symbol AND recorded.gap_start = later.gap_start
   AND recorded.gap_start BETWEEN make_timestamptz($start) AND make_timestamptz($end)
WHEN MATCHED THEN UPDATE
WHEN NOT MATCHED THEN INSERT;

-- funding_rates: add settled fundings that are not there; answers with those.
MERGE INTO funding_rates AS recorded USING new_funding_rates AS later
ON recorded.symbol = later.symbol AND recorded.funding_time = later.funding_time
   AND recorded.rate_type = later.rate_type
   AND recorded.funding_time BETWEEN make_timestamptz($start) AND make_timestamptz($end)
WHEN NOT MATCHED THEN INSERT
RETURNING *;

-- add_funding_snapshots: add running rates that are later than all of their symbol.
INSERT INTO funding_snapshots FROM new_funding_snapshots;

-- funding_snapshots: add running rates that are not there; answers with those.
MERGE INTO funding_snapshots AS recorded USING new_funding_snapshots AS later
ON recorded.run_time = later.run_time AND recorded.symbol = later.symbol
   AND recorded.run_time BETWEEN make_timestamptz($start) AND make_timestamptz($end)
WHEN NOT MATCHED THEN INSERT
RETURNING *;

-- exginfo: add the trading rules that differ from the newest row of their symbol. A symbol that the list omits keeps its
-- rows as they are, for an omission says nothing (the user's own choice of symbols may have changed). Should the
-- clock have stepped back, the new row still becomes the newest. Answers with the rows that were added.
INSERT INTO exginfo
SELECT later.symbol, greatest(later.valid_from, newest.valid_from + INTERVAL 1 MILLISECOND),
       later.* EXCLUDE (symbol, valid_from)
FROM new_exginfo AS later
LEFT JOIN (FROM exginfo QUALIFY row_number() OVER (PARTITION BY symbol ORDER BY valid_from DESC) = 1) AS newest
     ON newest.symbol = later.symbol
WHERE newest.symbol IS NULL
   OR (later.contract_type, later.status, later.base_asset, later.quote_asset, later.margin_asset, later.price_tick,
       later.lot_size, later.min_notional_value, later.onboard_date, later.delivery_date)
      IS DISTINCT FROM
      (newest.contract_type, newest.status, newest.base_asset, newest.quote_asset, newest.margin_asset,
       newest.price_tick, newest.lot_size, newest.min_notional_value, newest.onboard_date, newest.delivery_date)
RETURNING *;
