-- Unbroken runs of bars per symbol in [start, end), by the number of each bar on the feed's grid: within an unbroken
-- run, the number less the rank of the bar stays the same. Times in microseconds. A symbol without a hole, which is nearly every one,
-- is told by its count alone; only the others are sorted.

-- grid: segments of an interval of fixed length.
WITH bars AS (
    SELECT symbol, open_time, (epoch_us(open_time) - $anchor) // $length AS number
    FROM candles
    WHERE open_time >= make_timestamptz($start) AND open_time < make_timestamptz($end)
      AND ($symbols IS NULL OR list_contains($symbols::VARCHAR[], symbol))
), spans AS (
    SELECT symbol, min(open_time) AS first, max(open_time) AS last, max(number) - min(number) + 1 = count(*) AS whole
    FROM bars GROUP BY symbol
), islands AS (
    SELECT symbol, open_time, number - row_number() OVER (PARTITION BY symbol ORDER BY number) AS island
    FROM bars WHERE symbol IN (SELECT symbol FROM spans WHERE NOT whole)
)
SELECT symbol, epoch_ms(first), epoch_ms(last) FROM spans WHERE whole
UNION ALL
SELECT symbol, epoch_ms(min(open_time)), epoch_ms(max(open_time)) FROM islands GROUP BY symbol, island
ORDER BY 1, 2;

-- months: segments of calendar months.
WITH bars AS (
    SELECT symbol, open_time, 12 * year(open_time) + month(open_time) AS number
    FROM candles
    WHERE open_time >= make_timestamptz($start) AND open_time < make_timestamptz($end)
      AND ($symbols IS NULL OR list_contains($symbols::VARCHAR[], symbol))
), islands AS (
    SELECT symbol, open_time, number - row_number() OVER (PARTITION BY symbol ORDER BY number) AS island FROM bars
)
SELECT symbol, epoch_ms(min(open_time)), epoch_ms(max(open_time)) FROM islands GROUP BY symbol, island
ORDER BY 1, 2;
