"""Whatever a client sends, it can read the market and nothing else, and change nothing."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import duckdb
import pytest

from bmacdb.store.extensions import load_quack
from bmacdb.store.guard import DENIED_FUNCTIONS, LONGEST_QUERY
from tests.reading.conftest import Served
from tests.reading.feeding import FIRST_MS

WRITING = [
    "INSERT INTO main.meta VALUES ('a', 'b')",
    "INSERT INTO usdt_perp_1m.candles SELECT * FROM usdt_perp_1m.candles",
    "INSERT OR REPLACE INTO main.meta VALUES ('a', 'b')",
    "WITH x AS (SELECT 1) INSERT INTO main.meta SELECT 'a', 'b'",
    "UPDATE main.meta SET value = '9'",
    "DELETE FROM usdt_perp_1m.candles",
    "TRUNCATE usdt_perp_1m.candles",
    "MERGE INTO main.meta USING (SELECT 'a' AS key) AS new USING (key) WHEN MATCHED THEN DELETE",
    "CREATE TABLE main.mine (i INTEGER)",
    "CREATE TEMP TABLE mine (i INTEGER)",
    "CREATE TABLE main.mine AS FROM candles",
    "CREATE OR REPLACE VIEW main.candles AS SELECT 1",
    "CREATE SCHEMA mine",
    "CREATE SEQUENCE main.mine",
    "CREATE TYPE main.mine AS ENUM ('a')",
    "CREATE INDEX mine ON usdt_perp_1m.candles (symbol)",
    "CREATE MACRO main.mine(a) AS a",
    "CREATE OR REPLACE MACRO guard.rules.bmacdb_guard(session, query) AS query",
    "CREATE SECRET mine (TYPE quack, TOKEN 'abcd')",
    "DROP TABLE usdt_perp_1m.candles",
    "DROP VIEW main.candles",
    "DROP SCHEMA usdt_perp_1m CASCADE",
    "DROP MACRO guard.rules.bmacdb_guard",
    "ALTER TABLE usdt_perp_1m.candles ADD COLUMN mine INTEGER",
    "ALTER TABLE usdt_perp_1m.candles RENAME TO mine",
    "COMMENT ON TABLE usdt_perp_1m.candles IS 'mine'",
]
ACTING = [
    "COPY usdt_perp_1m.candles TO '{folder}/stolen.csv'",
    "COPY (SELECT 1) TO '{folder}/stolen.parquet' (FORMAT parquet)",
    "COPY usdt_perp_1m.candles FROM '{secret}'",
    "COPY FROM DATABASE bmac TO guard",
    "EXPORT DATABASE '{folder}/stolen'",
    "IMPORT DATABASE '{folder}/stolen'",
    "ATTACH '{folder}/other.duckdb' AS other",
    "ATTACH ':memory:' AS other",
    "DETACH guard",
    "USE guard",
    "SET memory_limit = '1MB'",
    "SET GLOBAL quack_authorization_function = 'quack_nop_authorization'",
    "SET VARIABLE mine = 1",
    "RESET quack_authorization_function",
    "PRAGMA database_list",
    "PRAGMA table_info('candles')",
    "PRAGMA enable_profiling",
    "CALL quack_stop('{uri}')",
    "CALL enable_logging()",
    "CALL pragma_version()",
    "INSTALL spatial",
    "LOAD httpfs",
    "CHECKPOINT",
    "FORCE CHECKPOINT",
    "VACUUM",
    "ANALYZE",
    "BEGIN TRANSACTION",
    "COMMIT",
    "PREPARE mine AS SELECT 1",
    "EXECUTE mine",
    "EXPLAIN ANALYZE DELETE FROM usdt_perp_1m.candles",
    "SELECT 1; DELETE FROM main.meta",
    "SELECT 1; SELECT 2",
    "",
    "no SQL at all",
]
LEAKING = [
    "SELECT * FROM quack_stop('{uri}')",
    "SELECT * FROM quack_serve('quack:localhost:9999', token => 'abcd')",
    "SELECT * FROM quack_query('{uri}', 'SELECT 1', token => 'abcd')",
    "FROM quack_server_list()",
    "FROM quack_active_connections()",
    "SELECT quack_check_token('a', 'b', 'b')",
    "FROM read_text('{secret}')",
    "FROM READ_TEXT('{secret}')",
    "FROM \"read_text\"('{secret}')",
    "FROM system.main.read_text('{secret}')",
    "FROM read_blob('{secret}')",
    "FROM read_csv('{secret}')",
    "FROM read_csv_auto('{secret}')",
    "FROM read_json('{secret}')",
    "FROM read_parquet('{secret}')",
    "FROM parquet_metadata('{secret}')",
    "FROM sniff_csv('{secret}')",
    "FROM glob('{folder}/*')",
    "FROM '{secret}'",
    'FROM "{secret}"',
    "SELECT * FROM candles, '{secret}'",
    "SELECT (SELECT content FROM read_text('{secret}'))",
    "SELECT * FROM candles WHERE symbol IN (SELECT content FROM read_text('{secret}'))",
    "FROM candles, LATERAL (FROM read_text('{secret}'))",
    "SELECT * FROM candles UNION ALL FROM '{secret}'",
    'WITH "{secret}" AS (SELECT 1) FROM "{secret}"',
    'WITH a AS (WITH "{secret}" AS (SELECT 1) FROM "{secret}") SELECT * FROM a, "{secret}"',
    "WITH read_text AS (SELECT 1) FROM read_text('{secret}')",
    "WITH guard AS (SELECT 1), rules AS (SELECT 1), known AS (SELECT 1) FROM guard.rules.known",
    'FROM """{secret}"',
    "DESCRIBE '{secret}'",
    "SUMMARIZE '{secret}'",
    "FROM (DESCRIBE '{secret}')",
    "FROM 'https://example.com/a.csv'",
    "FROM query('SELECT 1')",
    "FROM query_table('candles')",
    "FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
    "SELECT json_serialize_plan('FROM ''{secret}''')",
    "SELECT current_setting('quack_authorization_function')",
    "SELECT getenv('HOME')",
    "SELECT getvariable('a')",
    "FROM duckdb_settings()",
    "FROM duckdb_secrets()",
    "FROM duckdb_databases()",
    "FROM duckdb_extensions()",
    "FROM duckdb_logs()",
    "FROM duckdb_variables()",
    "FROM duckdb_settings",
    "FROM pg_catalog.pg_settings",
    "WITH duckdb_settings AS (SELECT 1) FROM duckdb_settings",
    "FROM which_secret('s3://a', 's3')",
    "FROM pragma_database_list",
    "FROM pragma_storage_info('candles')",
    "SHOW DATABASES",
    "SHOW VARIABLES",
    "SELECT * FROM guard.rules.known",
    "SELECT guard.rules.bmacdb_guard('a', 'b')",
    "FROM whoami()",
    "FROM enable_logging()",
    "FROM checkpoint()",
    "FROM force_checkpoint()",
    "FROM truncate_duckdb_logs()",
    "FROM seq_scan('candles')",
    "FROM test_all_types()",
    "SELECT nextval('mine')",
    "SELECT write_log('a')",
    "SELECT sleep_ms(10)",
    "SELECT pg_sleep(1)",
    "SELECT " + "'" + "a" * (LONGEST_QUERY + 1) + "'",
]
ALLOWED = [
    "SELECT 1",
    "SELECT 1;",
    "FROM candles",
    "FROM Candles WHERE FEED = 'usdt_perp_1m'",
    "FROM usdt_perp_1m.candles",
    "SELECT *, 'read_csv(''a.csv'')' AS text FROM main.candles WHERE symbol = '\"table_name\":\"a.csv\"'",
    'WITH a AS (FROM candles), "my bars" AS (FROM a) SELECT count(*) FROM "my bars"',
    "WITH stats AS (FROM candles), views AS (FROM stats) FROM views",
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) FROM t",
    "SELECT symbol, close / lag(close) OVER (PARTITION BY symbol ORDER BY open_time) - 1 FROM usdt_perp_1m.candles",
    "SELECT list(symbol ORDER BY symbol), max_by(close, open_time), quantile_cont(close, 0.5) FROM candles",
    "SELECT time_bucket(INTERVAL 5 MINUTE, open_time) AS t, first(open ORDER BY open_time) FROM candles GROUP BY t",
    "FROM candles ASOF JOIN runs ON candles.open_time >= runs.run_time",
    "SELECT unnest([1, 2]), struct_pack(a := 1).a, MAP {'a': 1}['a'], [x * 2 FOR x IN [1, 2]]",
    "FROM range(3) AS t(i), generate_series(1, 2)",
    "VALUES (1), (2)",
    "TABLE feeds",
    "DESCRIBE candles",
    "SUMMARIZE runs",
    "SHOW TABLES",
    "SHOW ALL TABLES",
    "SELECT table_name FROM information_schema.tables",
    "SELECT typeof(pg_typeof(1)), pg_size_pretty(1)",
    "FROM latest_candles",
    "FROM readiness",
    "FROM latency",
    "FROM coverage",
]


def client(served: Served) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    load_quack(connection)
    connection.execute(f"ATTACH '{served.server.live.uri}' AS db (TOKEN '{served.server.live.token}')")
    return connection


def fingerprint(served: Served) -> object:
    """All that could have changed: layout, rows, settings, attached databases."""

    def look(connection: duckdb.DuckDBPyConnection) -> object:
        tables = connection.execute(
            "SELECT schema_name, table_name, sql FROM duckdb_tables() UNION ALL "
            "SELECT schema_name, view_name, sql FROM duckdb_views() WHERE NOT internal ORDER BY ALL"
        ).fetchall()
        return (
            tables,
            connection.execute("SELECT count(*), sum(hash(c)) FROM usdt_perp_1m.candles AS c").fetchall(),
            connection.execute("SELECT list(m ORDER BY m) FROM main.meta AS m").fetchall(),
            connection.execute("SELECT name, value FROM duckdb_settings() ORDER BY ALL").fetchall(),
            connection.execute("SELECT database_name FROM duckdb_databases() ORDER BY ALL").fetchall(),
            connection.execute("SELECT count(*) FROM duckdb_functions() WHERE NOT internal").fetchall(),
            connection.execute("SELECT count(*) FROM duckdb_secrets()").fetchall(),
            connection.execute("SELECT count(*) FROM quack_server_list()").fetchall(),
        )

    return look


async def test_no_statement_changes_anything_or_reads_beyond_the_market(served: Served, tmp_path: Path) -> None:
    """170 hostile statements, as text by both functions: every one is refused, the database stays as it is, and
    reading goes on."""
    secret = tmp_path / "secret.csv"
    secret.write_text("token\nhidden-away\n", encoding="utf-8")
    look = fingerprint(served)
    before = await served.store.run(look)  # type: ignore[arg-type]
    uri, token = served.server.live.uri, served.server.live.token

    def attack() -> list[str]:
        connection = client(served)
        passed = []
        for template in [*WRITING, *ACTING, *LEAKING]:
            statement = (
                template.replace("{folder}", str(tmp_path)).replace("{secret}", str(secret)).replace("{uri}", uri)
            )
            for road in (
                "FROM quack_query_by_name('db', $1)",
                f"FROM quack_query('{uri}', $1, token => '{token}')",
            ):
                try:
                    answer = connection.execute(road, [statement]).fetchall()
                except duckdb.Error:
                    continue
                passed.append(f"{statement[:80]} -> {answer}")
            assert connection.execute("FROM db.query('SELECT 1')").fetchall() == [(1,)]
        connection.close()
        return passed

    assert await asyncio.to_thread(attack) == []
    assert await served.store.run(look) == before  # type: ignore[arg-type]
    assert not [name for name in os.listdir(tmp_path) if name.startswith("stolen")]


async def test_the_attached_catalog_is_no_way_round(served: Served, tmp_path: Path) -> None:
    """Statements on the attached database, which Quack turns into messages of its own, change nothing either."""
    look = fingerprint(served)
    before = await served.store.run(look)  # type: ignore[arg-type]
    statements = [
        "INSERT INTO db.main.meta VALUES ('a', 'b')",
        "INSERT INTO db.main.feeds BY NAME SELECT * FROM db.main.feeds",
        "COPY (SELECT 'a', 'b') TO '{folder}/rows.csv'; COPY db.main.meta FROM '{folder}/rows.csv'",
        "CREATE TABLE db.main.mine (i INTEGER)",
        "CREATE TABLE db.main.mine AS SELECT 1 AS i",
        "CREATE OR REPLACE TABLE db.main.meta AS SELECT 1 AS i",
        "CREATE SCHEMA db.mine",
        "CREATE VIEW db.main.mine AS SELECT 1",
        "CREATE SEQUENCE db.main.mine",
        "CREATE MACRO db.main.mine(a) AS a",
        "CREATE TYPE db.main.mine AS ENUM ('a')",
        "CREATE INDEX mine ON db.main.meta (key)",
        "DROP TABLE db.main.meta",
        "DROP VIEW db.main.candles",
        "DROP SCHEMA db.usdt_perp_1m CASCADE",
        "ALTER TABLE db.main.meta ADD COLUMN mine INTEGER",
        "ALTER TABLE db.main.meta RENAME TO mine",
        "UPDATE db.main.meta SET value = '9'",
        "DELETE FROM db.main.meta",
        "TRUNCATE db.main.meta",
        "MERGE INTO db.main.meta USING (SELECT 'a' AS key) AS new USING (key) WHEN MATCHED THEN DELETE",
        "CHECKPOINT db",
        "IMPORT DATABASE '{folder}'",
        "FROM db.query('DELETE FROM main.meta')",
        "FROM db.query($$ SELECT 1; DROP TABLE main.meta $$)",
        "BEGIN; INSERT INTO db.main.meta VALUES ('a', 'b'); COMMIT",
        "COMMENT ON TABLE db.main.meta IS 'mine'",
    ]

    def attack() -> None:
        connection = client(served)
        for statement in statements:
            with pytest.raises(duckdb.Error):  # noqa: PT012
                connection.execute(statement.replace("{folder}", str(tmp_path)))
                pytest.fail(f"passed: {statement}")
            if statement.startswith("BEGIN"):
                connection.execute("ROLLBACK")
            assert connection.execute("SELECT count(*) FROM db.feeds").fetchall() == [(1,)]
        connection.close()

    await asyncio.to_thread(attack)
    assert await served.store.run(look) == before  # type: ignore[arg-type]


async def test_what_readers_need_is_let_through(served: Served) -> None:
    """Queries of every kind pass, by text and through the attached catalog."""

    def read() -> None:
        connection = client(served)
        for statement in ALLOWED:
            connection.execute("FROM quack_query_by_name('db', $1)", [statement]).fetchall()
        assert connection.execute("SELECT count(*) FROM db.candles WHERE symbol = 'BTCUSDT'").fetchall() == [(3,)]
        assert connection.execute("SELECT min(epoch_ms(run_time)) FROM db.runs").fetchall() == [(FIRST_MS,)]
        connection.close()

    await asyncio.to_thread(read)


async def test_a_wrong_token_is_refused(served: Served) -> None:
    """Neither a query nor an attachment gets in without the token of the side file."""

    def knock() -> None:
        connection = duckdb.connect()
        load_quack(connection)
        with pytest.raises(duckdb.Error, match="Authentication failed"):
            connection.execute(f"ATTACH '{served.server.live.uri}' AS db (TOKEN 'wrong')")
        with pytest.raises(duckdb.Error, match="Authentication failed"):
            connection.execute(f"FROM quack_query('{served.server.live.uri}', 'SELECT 1', token => 'wrong')")
        with pytest.raises(duckdb.Error):
            connection.execute(f"ATTACH '{served.server.live.uri}' AS db")
        connection.close()

    await asyncio.to_thread(knock)


def test_every_function_that_acts_has_been_looked_at() -> None:
    """DuckDB says which functions have side effects: each is denied, or known to be harmless."""
    connection = duckdb.connect()
    load_quack(connection)
    acting = {
        name
        for (name,) in connection.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type IN ('scalar', 'aggregate') "
            "AND has_side_effects AND NOT regexp_full_match(function_name, $1)",
            [DENIED_FUNCTIONS],
        ).fetchall()
    }
    connection.close()
    harmless = {"error", "random", "uuid", "uuidv4", "uuidv7", "gen_random_uuid"}
    assert acting - harmless == {"current_connection_id", "current_transaction_id"}


async def test_macros_of_factors_open_no_door(served: Served, tmp_path: Path) -> None:
    """They are let through; what their arguments do is looked at, and one that is called as a function of DuckDB's own
    does not let that function in."""
    secret = tmp_path / "secret.txt"
    secret.write_text("a secret", encoding="utf-8")
    bait = [
        "CREATE MACRO main.Own(n := 3, since := NULL) AS TABLE SELECT n AS value, since AS since",
        "CREATE MACRO main.twice(x) AS 2 * x",
        "CREATE MACRO main.read_text(name := 'x') AS TABLE SELECT 1 AS value",
        "CREATE MACRO main.getenv(name) AS 'nothing'",
    ]
    await served.store.define(lambda feeds: "bait", lambda feeds: bait)
    await asyncio.wrap_future(served.server._thread.submit(served.server._refresh))
    connection = client(served)
    for good in (
        "FROM Own()",
        "FROM main.Own(n := 5)",
        "SELECT twice(21)",
        "SELECT value FROM own(since := DATE '2026-01-01')",
    ):
        assert connection.execute("FROM quack_query_by_name('db', ?)", [good]).fetchall(), good
    for bad in (
        f"FROM read_text('{secret}')",
        f"FROM system.main.read_text('{secret}')",
        f"FROM main.read_text('{secret}')",
        "SELECT getenv('HOME')",
        "SELECT twice(system.main.getenv('HOME'))",
        f"FROM Own(since := (SELECT content FROM read_text('{secret}')))",
        "FROM Own(n := current_setting('memory_limit'))",
        f"FROM Own(n := (SELECT count(*) FROM '{secret}'))",
        "FROM guard.rules.known",
    ):
        with pytest.raises(duckdb.Error, match="refuses") as error:
            connection.execute("FROM quack_query_by_name('db', ?)", [bad]).fetchall()
        assert "a secret" not in str(error.value), bad
