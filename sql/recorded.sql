-- What the record holds of a feed, for the archive's commands. They run on a live recorder as well, so names are those
-- of `main`. Times go in as timestamps and come out as milliseconds.

-- symbols: the newest trading rules of each symbol.
SELECT symbol, contract_type, status, base_asset, quote_asset, margin_asset, price_tick, lot_size, min_notional_value,
       epoch_ms(onboard_date), epoch_ms(delivery_date)
FROM exginfo WHERE feed = $feed
QUALIFY row_number() OVER (PARTITION BY symbol ORDER BY valid_from DESC) = 1;

-- spans: the first and the last bar of each symbol, and how many there are.
SELECT symbol, epoch_ms(min(open_time)), epoch_ms(max(open_time)), count(*)
FROM candles WHERE feed = $feed AND ($symbols IS NULL OR list_contains($symbols::VARCHAR[], symbol))
GROUP BY symbol ORDER BY symbol;

-- jumps: the bars in [start, end) that do not follow upon the one before them, and how long the step was: a hole in
-- between is the bars that open between the two.
SELECT symbol, epoch_ms(before), epoch_ms(open_time)
FROM (
    SELECT symbol, open_time, lag(open_time) OVER (PARTITION BY symbol ORDER BY open_time) AS before
    FROM candles
    WHERE feed = $feed AND open_time >= $start AND open_time < $end
      AND ($symbols IS NULL OR list_contains($symbols::VARCHAR[], symbol))
)
WHERE open_time - before > $step::INTERVAL
ORDER BY symbol, open_time;

-- gaps: every hole that was ever noted, in order.
SELECT symbol, epoch_ms(gap_start), epoch_ms(gap_end), state, reason, epoch_ms(found_at), epoch_ms(closed_at)
FROM gaps WHERE feed = $feed AND ($symbols IS NULL OR list_contains($symbols::VARCHAR[], symbol))
ORDER BY symbol, gap_start;

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
GROUP BY ALL ORDER BY bars DESC, ALL;
