-- What is derived in `main` feed by feed (`{feed}` is its schema), for it would be slow over the union of all.

-- latest_candles: the newest candle of each symbol. Symbols that have not traded for a day are looked up on their own:
-- the others are found among the newest rows alone.
WITH newest AS MATERIALIZED (
    SELECT symbol, max(open_time) AS open_time FROM {feed}.candles GROUP BY symbol
), bound AS (
    SELECT max(open_time) - INTERVAL 1 DAY AS edge FROM newest
)
SELECT candles.* FROM {feed}.candles JOIN (FROM newest WHERE open_time >= (SELECT edge FROM bound)) USING (symbol, open_time)
UNION ALL
SELECT candles.* FROM {feed}.candles JOIN (FROM newest WHERE open_time < (SELECT edge FROM bound)) USING (symbol, open_time);
