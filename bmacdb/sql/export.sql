-- What files are made of. `feed` stands for the schema, words in braces are put in by `bmacdb.export`.

-- candles: the bars of some symbols that open in [start, end), as the predecessor names their columns.
SELECT symbol, open_time AS candle_begin_time, open_time + INTERVAL '{step}' AS candle_end_time,
       open, high, low, close, volume, quote_volume, trade_num, taker_buy_base_asset_volume,
       taker_buy_quote_asset_volume
FROM feed.candles
WHERE open_time >= make_timestamptz(1000::BIGINT * $start) AND open_time < make_timestamptz(1000::BIGINT * $end)
  AND symbol IN (SELECT unnest($symbols::VARCHAR[]))
ORDER BY symbol, open_time;

-- last_candles: the same, of the last `$limit` bars that open before `$end`, however far they reach back.
SELECT symbol, open_time AS candle_begin_time, open_time + INTERVAL '{step}' AS candle_end_time,
       open, high, low, close, volume, quote_volume, trade_num, taker_buy_base_asset_volume,
       taker_buy_quote_asset_volume
FROM feed.candles
WHERE open_time < make_timestamptz(1000::BIGINT * $end) AND symbol IN (SELECT unnest($symbols::VARCHAR[]))
QUALIFY row_number() OVER (PARTITION BY symbol ORDER BY open_time DESC) <= $limit
ORDER BY symbol, open_time;

-- first: when the first bar of each symbol opened.
SELECT symbol, epoch_ms(min(open_time)) FROM feed.candles GROUP BY symbol;

-- there: the symbols that have a bar which opens then.
SELECT symbol FROM feed.candles WHERE open_time = make_timestamptz(1000::BIGINT * $open_time) ORDER BY symbol;

-- exginfo: the trading rules in force, in the order in which the exchange listed the symbols: they were written in that
-- order, and it adds new ones at the end.
SELECT symbol, contract_type, status, base_asset, quote_asset, margin_asset, price_tick, lot_size, min_notional_value
FROM (SELECT *, min(rowid) OVER (PARTITION BY symbol) AS place FROM feed.exginfo
      QUALIFY row_number() OVER (PARTITION BY symbol ORDER BY valid_from DESC) = 1)
ORDER BY place;

-- funding: the running rates at the run times in (start, end].
SELECT symbol, funding_rate AS "fundingRate", run_time AS time
FROM feed.funding_snapshots
WHERE run_time > make_timestamptz(1000::BIGINT * $start) AND run_time <= make_timestamptz(1000::BIGINT * $end)
ORDER BY run_time, symbol;

-- newest: the newest run time at which the market was complete.
SELECT epoch_ms(max(run_time)) FROM feed.runs WHERE complete_at IS NOT NULL;

-- last: when the last bar opened.
SELECT epoch_ms(max(open_time)) FROM feed.candles;

-- last_funding: the newest run time with running rates, up to a moment.
SELECT epoch_ms(max(run_time)) FROM feed.funding_snapshots WHERE run_time <= make_timestamptz(1000::BIGINT * $end);

-- span: when the first and the last row lies that some symbols have in [start, end), and how many there are.
SELECT epoch_ms(min({time})), epoch_ms(max({time})), count(*) FROM feed.{table} WHERE {where};

-- rows: the rows of a piece.
SELECT * FROM feed.{table} WHERE {where} ORDER BY {order};
