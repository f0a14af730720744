-- `runs` tell their state; bars that REST gave too soon after their close are provisional; a running funding rate
-- where no funding is to come is none.

-- each feed
CREATE TABLE runs_with_states (
    run_time    TIMESTAMPTZ NOT NULL,
    expected    INTEGER     NOT NULL,
    ready       INTEGER     NOT NULL,
    complete_at TIMESTAMPTZ,
    last_item   VARCHAR,
    repaired    INTEGER     NOT NULL,
    missing     VARCHAR[]   NOT NULL,
    state       VARCHAR     NOT NULL
);
INSERT INTO runs_with_states
SELECT *, CASE WHEN complete_at IS NOT NULL THEN 'complete' WHEN expected = 0 THEN 'halted' WHEN len(missing) > 0 THEN 'late' ELSE 'open' END
FROM runs;
DROP TABLE runs;
ALTER TABLE runs_with_states RENAME TO runs;

-- (What was recorded within 15 s of its close. A month is counted as the 31 days that it has at most.)
UPDATE candles SET source = 'provisional'
WHERE source = 'rest' AND recorded_at < open_time + INTERVAL 15 SECOND + (
    SELECT CASE right("interval", 1)
           WHEN 's' THEN to_seconds(number) WHEN 'm' THEN to_minutes(number) WHEN 'h' THEN to_hours(number)
           WHEN 'd' THEN to_days(number::INTEGER) WHEN 'w' THEN to_days(7 * number::INTEGER) ELSE INTERVAL 31 DAY END
    FROM (SELECT "interval", left("interval", -1)::BIGINT AS number FROM main.feeds WHERE feed = current_schema())
);

UPDATE funding_snapshots SET funding_rate = NULL WHERE funding_rate = 0 AND next_funding_time IS NULL;

-- each resampled
CREATE TABLE runs_with_states (
    run_time    TIMESTAMPTZ NOT NULL,
    expected    INTEGER     NOT NULL,
    ready       INTEGER     NOT NULL,
    complete_at TIMESTAMPTZ,
    last_item   VARCHAR,
    repaired    INTEGER     NOT NULL,
    missing     VARCHAR[]   NOT NULL,
    state       VARCHAR     NOT NULL
);
INSERT INTO runs_with_states
SELECT *, CASE WHEN complete_at IS NOT NULL THEN 'complete' WHEN len(missing) > 0 THEN 'late' ELSE 'open' END
FROM runs;
DROP TABLE runs;
ALTER TABLE runs_with_states RENAME TO runs;
