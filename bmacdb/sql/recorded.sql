-- What the record holds of a feed, for the archive's commands. They run on a live recorder as well, so names are those
-- of `main`. Times go in as timestamps and come out as milliseconds.

-- symbols: the newest trading rules of each symbol.
SELECT symbol, contract_type, status, base_asset, quote_asset, margin_asset, price_tick, lot_size, min_notional_value,
       epoch_ms(onboard_date), epoch_ms(delivery_date)
FROM exginfo WHERE feed = $feed
QUALIFY row_number() OVER (PARTITION BY symbol ORDER BY valid_from DESC) = 1;

-- segments: unbroken runs of bars of an interval of fixed length, as in segments.sql, which see: the first and the last
-- open time of pieces of 256 bars at most, in order; those that touch are to be joined.
WITH bars AS (
    SELECT symbol, open_time, (epoch_us(open_time) - $anchor) // $length AS number
    FROM candles WHERE feed = $feed AND ($symbols IS NULL OR list_contains($symbols::VARCHAR[], symbol))
), pieces AS (
    SELECT symbol, number // 256 AS piece, min(open_time) AS first, max(open_time) AS last,
           max(number) - min(number) + 1 = count(*) AS whole
    FROM bars GROUP BY ALL
), islands AS (
    SELECT symbol, open_time, number - row_number() OVER (PARTITION BY symbol ORDER BY number) AS island
    FROM bars SEMI JOIN (FROM pieces WHERE NOT whole) AS broken
         ON broken.symbol = bars.symbol AND broken.piece = bars.number // 256
)
SELECT symbol, epoch_ms(first), epoch_ms(last) FROM pieces WHERE whole
UNION ALL
SELECT symbol, epoch_ms(min(open_time)), epoch_ms(max(open_time)) FROM islands GROUP BY symbol, island
ORDER BY 1, 2;

-- months: every bar of months as a segment of its own.
SELECT symbol, epoch_ms(open_time), epoch_ms(open_time) FROM candles
WHERE feed = $feed AND ($symbols IS NULL OR list_contains($symbols::VARCHAR[], symbol))
ORDER BY 1, 2;

-- gaps: every hole that was ever noted, in order.
SELECT symbol, epoch_ms(gap_start), epoch_ms(gap_end), state, reason, epoch_ms(found_at), epoch_ms(closed_at)
FROM gaps WHERE feed = $feed AND ($symbols IS NULL OR list_contains($symbols::VARCHAR[], symbol))
ORDER BY symbol, gap_start;

-- fundings: when settled fundings of a symbol are recorded, in [start, end].
SELECT epoch_ms(funding_time) FROM funding_rates
WHERE feed = $feed AND symbol = $symbol AND funding_time BETWEEN $start AND $end ORDER BY 1;

-- candles: the bars of a symbol that open in [start, end), in order.
SELECT open_time, open, high, low, close, volume, quote_volume, trade_num, taker_buy_base_asset_volume,
       taker_buy_quote_asset_volume, source
FROM candles WHERE feed = $feed AND symbol = $symbol AND open_time >= $start AND open_time < $end
ORDER BY open_time;

-- disagreements: corrections of the feed, by the sources that disagreed and the one that stands.
SELECT recorded.source AS recorded, later.source AS later, stands, count(*) AS bars, count(DISTINCT symbol) AS symbols,
       min(open_time) AS first_open_time, max(open_time) AS last_open_time, max(noticed_at) AS last_noticed_at
FROM corrections
WHERE feed = $feed AND open_time >= $start AND open_time < $end
  AND ($symbols IS NULL OR list_contains($symbols::VARCHAR[], symbol))
GROUP BY ALL ORDER BY bars DESC, 1, 2, 3;

-- cuts: where a symbol's trading paused for so long (`$long`), or for less (`$short`) with a jump of the price by `$move`
-- (0.1 for ten per cent), that what follows is another asset: the last bar with trades before, and the first after.
-- Looked for by the day, for a pause of a day or more lies between the last bar of one day and the first of another.
WITH days AS (
    SELECT symbol, time_bucket(INTERVAL 1 DAY, open_time) AS day, min(open_time) AS first, max(open_time) AS last,
           arg_min(open, open_time) AS open, arg_max(close, open_time) AS close
    FROM candles
    WHERE feed = $feed AND volume > 0 AND ($symbols IS NULL OR list_contains($symbols::VARCHAR[], symbol))
    GROUP BY ALL
), steps AS (
    SELECT symbol, lag(last) OVER by_day AS before, first AS after, lag(close) OVER by_day AS close_before,
           open AS open_after
    FROM days WINDOW by_day AS (PARTITION BY symbol ORDER BY day)
)
SELECT symbol, epoch_ms(before), epoch_ms(after), close_before, open_after
FROM steps
WHERE epoch_ms(after) - epoch_ms(before) - $length >= $long
   OR (epoch_ms(after) - epoch_ms(before) - $length >= $short AND abs(open_after / close_before - 1) >= $move)
ORDER BY symbol, after;

-- part: the bars of one part of a symbol, in order; with `$fill`, holes as flat bars of source `fill`: the close before as
-- every price, and no volume. Nothing of it is written.
WITH bars AS (
    SELECT * EXCLUDE (feed) FROM candles
    WHERE feed = $feed AND symbol = $symbol AND open_time >= $start AND open_time < $end
), grid AS (
    SELECT unnest(generate_series(first, last, $step::INTERVAL)) AS open_time
    FROM (SELECT min(open_time) AS first, max(open_time) AS last FROM bars) WHERE $fill AND first IS NOT NULL
), laid AS (
    SELECT open_time, bars.* EXCLUDE (open_time)
    FROM (SELECT open_time FROM grid UNION SELECT open_time FROM bars) LEFT JOIN bars USING (open_time)
), carried AS (
    SELECT *, last_value(close IGNORE NULLS) OVER (ORDER BY open_time) AS level,
           last_value(recorded_at IGNORE NULLS) OVER (ORDER BY open_time) AS seen
    FROM laid
)
SELECT $name AS symbol, open_time, coalesce(open, level) AS open, coalesce(high, level) AS high,
       coalesce(low, level) AS low, level AS close, coalesce(volume, 0) AS volume,
       coalesce(quote_volume, 0) AS quote_volume, coalesce(trade_num, 0) AS trade_num,
       coalesce(taker_buy_base_asset_volume, 0) AS taker_buy_base_asset_volume,
       coalesce(taker_buy_quote_asset_volume, 0) AS taker_buy_quote_asset_volume,
       coalesce(source, 'fill') AS source, seen AS recorded_at
FROM carried ORDER BY open_time;
