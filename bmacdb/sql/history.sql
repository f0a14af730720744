-- Candles of the archive by the million: the statements of one transaction, on a connection whose search path is the
-- feed. `incoming` is an Arrow table of the columns of `candles` in their order, each key in it once, all of source
-- `archive`, which outranks every other: the version in `incoming` stands. `$start` and `$end` are the least and the
-- greatest open time in it (microseconds), `$symbols` its symbols, so that DuckDB skips the row groups beside.

-- overlap: how many recorded bars could be meant by `incoming`; none is the usual case, and then nothing is looked up.
-- (Symbol by symbol: a transaction often ends within a month, and of some symbols that month is there already.)
SELECT count(*)
FROM candles
JOIN (SELECT symbol, min(open_time) AS first, max(open_time) AS last FROM incoming GROUP BY symbol) AS spans
     ON candles.symbol = spans.symbol AND candles.open_time BETWEEN spans.first AND spans.last
WHERE candles.open_time BETWEEN make_timestamptz($start) AND make_timestamptz($end);

-- add_all: add bars of which none is there.
INSERT INTO candles FROM incoming;

-- correct: note both versions of the bars that differ. Bars that were invented (`fill`) are no version.
INSERT INTO corrections
SELECT recorded.symbol, recorded.open_time, make_timestamptz($now),
       {'open': recorded.open, 'high': recorded.high, 'low': recorded.low, 'close': recorded.close,
        'volume': recorded.volume, 'quote_volume': recorded.quote_volume, 'trade_num': recorded.trade_num,
        'taker_buy_base_asset_volume': recorded.taker_buy_base_asset_volume,
        'taker_buy_quote_asset_volume': recorded.taker_buy_quote_asset_volume, 'source': recorded.source},
       {'open': later.open, 'high': later.high, 'low': later.low, 'close': later.close,
        'volume': later.volume, 'quote_volume': later.quote_volume, 'trade_num': later.trade_num,
        'taker_buy_base_asset_volume': later.taker_buy_base_asset_volume,
        'taker_buy_quote_asset_volume': later.taker_buy_quote_asset_volume, 'source': later.source},
       'later'
FROM candles AS recorded JOIN incoming AS later
     ON recorded.symbol = later.symbol AND recorded.open_time = later.open_time
WHERE recorded.open_time BETWEEN make_timestamptz($start) AND make_timestamptz($end)
  AND (recorded.open, recorded.high, recorded.low, recorded.close, recorded.volume, recorded.quote_volume,
       recorded.trade_num, recorded.taker_buy_base_asset_volume, recorded.taker_buy_quote_asset_volume)
      IS DISTINCT FROM
      (later.open, later.high, later.low, later.close, later.volume, later.quote_volume,
       later.trade_num, later.taker_buy_base_asset_volume, later.taker_buy_quote_asset_volume);

-- replace: put the archive's version in the place of those that differ, were invented, or were taken too soon.
MERGE INTO candles AS recorded USING incoming AS later
ON recorded.symbol = later.symbol AND recorded.open_time = later.open_time
   AND recorded.open_time BETWEEN make_timestamptz($start) AND make_timestamptz($end)
WHEN MATCHED AND (recorded.source IN ('fill', 'provisional') OR
      (recorded.open, recorded.high, recorded.low, recorded.close, recorded.volume, recorded.quote_volume,
       recorded.trade_num, recorded.taker_buy_base_asset_volume, recorded.taker_buy_quote_asset_volume)
      IS DISTINCT FROM
      (later.open, later.high, later.low, later.close, later.volume, later.quote_volume,
       later.trade_num, later.taker_buy_base_asset_volume, later.taker_buy_quote_asset_volume))
THEN UPDATE;

-- add_new: add the bars that are not there.
INSERT INTO candles
FROM incoming AS later
WHERE NOT EXISTS (
    FROM candles AS recorded
    WHERE recorded.symbol = later.symbol AND recorded.open_time = later.open_time
      AND recorded.open_time BETWEEN make_timestamptz($start) AND make_timestamptz($end)
);

-- add_funding: add settled fundings that are not there. The exchange's stamps and the archive's may differ by some
-- milliseconds, and fundings are an hour apart at least.
INSERT INTO funding_rates
FROM incoming AS later
WHERE NOT EXISTS (
    FROM funding_rates AS recorded
    WHERE recorded.symbol = later.symbol
      AND recorded.funding_time BETWEEN make_timestamptz($start) - INTERVAL 1 MINUTE
                                    AND make_timestamptz($end) + INTERVAL 1 MINUTE
      AND abs(epoch_ms(recorded.funding_time) - epoch_ms(later.funding_time)) < 60000
);

-- touched_gaps: the holes of `$symbols` that are not closed by bars, and reach into [start, end].
SELECT symbol, epoch_ms(gap_start), epoch_ms(gap_end), state, reason, epoch_ms(found_at), epoch_ms(closed_at)
FROM gaps
WHERE state <> 'filled' AND list_contains($symbols, symbol)
  AND gap_start <= make_timestamptz($end) AND gap_end > make_timestamptz($start)
ORDER BY symbol, gap_start;
