-- What is deleted of a feed, once its time is before `$before` (microseconds).

-- candles: bars that opened before.
DELETE FROM candles WHERE open_time < make_timestamptz($before);

-- run_status: readiness of run times before, and of the boundary itself, whose bars opened before.
DELETE FROM run_status WHERE run_time <= make_timestamptz($before);

-- runs: periods before.
DELETE FROM runs WHERE run_time <= make_timestamptz($before);

-- funding_rates: fundings settled before.
DELETE FROM funding_rates WHERE funding_time < make_timestamptz($before);

-- funding_snapshots: running rates of run times before.
DELETE FROM funding_snapshots WHERE run_time <= make_timestamptz($before);

-- gaps: holes that end before.
DELETE FROM gaps WHERE gap_end <= make_timestamptz($before);

-- corrections: corrections of bars that opened before.
DELETE FROM corrections WHERE open_time < make_timestamptz($before);
