-- Unbroken runs of bars per symbol in [start, end), by the number of each bar on the feed's grid: within an unbroken
-- run, the number less the rank of the bar stays the same. Times in microseconds. The pieces come in order, and those
-- that touch are to be joined.

-- grid: segments of an interval of fixed length, in pieces of 256 bars at most. A piece without a hole, which is nearly
-- every one, is told by its count alone; only the bars of the others are sorted.
WITH bars AS (
    SELECT symbol, open_time, (epoch_us(open_time) - $anchor) // $length AS number
    FROM candles
    WHERE open_time >= make_timestamptz($start) AND open_time < make_timestamptz($end)
      AND ($symbols IS NULL OR list_contains($symbols::VARCHAR[], symbol))
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
