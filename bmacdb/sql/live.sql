-- What fills a panel: bars of a feed and what came with them. They run on a live recorder as well: names are of `main`.

-- feed: how the feed is recorded.
SELECT market, "interval", epoch_ms(anchor) AS anchor_ms FROM feeds WHERE feed = $feed;

-- bounds: the first and the last open time.
SELECT epoch_ms(min(open_time)), epoch_ms(max(open_time)) FROM candles WHERE feed = $feed;

-- candles: the bars that open in [start, end), oldest first.
SELECT symbol, open_time, open, high, low, close, volume, quote_volume, trade_num, taker_buy_base_asset_volume,
       taker_buy_quote_asset_volume
FROM candles WHERE feed = $feed AND open_time >= $start AND open_time < $end ORDER BY open_time;

-- funding_rates: what was settled in [start, end), oldest first.
SELECT symbol, funding_time, rate_type, funding_rate FROM funding_rates
WHERE feed = $feed AND funding_time >= $start AND funding_time < $end ORDER BY funding_time;

-- exginfo: the states of symbols that began in [start, end), oldest first.
SELECT symbol, valid_from, status FROM exginfo
WHERE feed = $feed AND valid_from >= $start AND valid_from < $end ORDER BY valid_from;

-- runs: the periods in [start, end).
SELECT epoch_ms(run_time) AS run_time_ms, state, missing FROM runs
WHERE feed = $feed AND run_time >= $start AND run_time < $end ORDER BY run_time;
