-- How far the tables of a feed reach: the newest time of each name, in milliseconds.

-- candles: the newest bar of each symbol.
SELECT symbol, epoch_ms(max(open_time)) FROM candles GROUP BY symbol;

-- run_status: the newest readiness of each item.
SELECT item, epoch_ms(max(run_time)) FROM run_status GROUP BY item;

-- funding_snapshots: the newest running rate of each symbol.
SELECT symbol, epoch_ms(max(run_time)) FROM funding_snapshots GROUP BY symbol;

-- runs: the newest period.
SELECT '', epoch_ms(max(run_time)) FROM runs HAVING count(*) > 0;
