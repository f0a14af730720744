"""The layout: `schema.sql` and `feed.sql` are the truth, and migrations reach it."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest

from bmacdb import sql
from bmacdb.offset import parse_resampling
from bmacdb.store import resample, schema
from bmacdb.symbols import make_feed

FEED = make_feed("usdt_perp", "1m")
LAYOUTS = Path(__file__).parent / "layouts"


def layout(connection: duckdb.DuckDBPyConnection) -> list[tuple[object, ...]]:
    """Every column of every table and view."""
    return connection.execute(
        "SELECT schema_name, table_name, column_name, data_type, is_nullable FROM duckdb_columns() WHERE NOT internal "
        "ORDER BY schema_name, table_name, column_index"
    ).fetchall()


def fresh() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    schema.create(connection, 0)
    schema.create_feed(connection, FEED)
    note(connection)
    schema.create_views(connection, [FEED.name])
    return connection


def first_version() -> duckdb.DuckDBPyConnection:
    """A file of version 1, whose layout is kept as it was."""
    connection = duckdb.connect()
    connection.execute((LAYOUTS / "schema_1.sql").read_text("utf-8"))
    connection.execute(
        "INSERT INTO main.meta VALUES ('schema_version', '1'), ('created_by', 'x'), ('created_at_ms', '0')"
    )
    connection.execute(f"CREATE SCHEMA {FEED.name}; SET search_path = '{FEED.name}'")
    connection.execute((LAYOUTS / "feed_1.sql").read_text("utf-8"))
    connection.execute(f"SET search_path = 'main'; CREATE VIEW main.runs AS FROM {FEED.name}.runs")
    note(connection)
    return connection


def note(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        "INSERT INTO main.feeds VALUES ($1, 'x', 'x', '1m', to_timestamp(0), 1, to_timestamp(0), to_timestamp(0))",
        [FEED.name],
    )


def test_migrations_reproduce_the_schema() -> None:
    """The oldest layout, kept as it was, plus all migrations is the present layout; versions have no hole."""
    versions = [version for version, _ in sql.migrations()]
    assert versions == list(range(2, schema.SCHEMA_VERSION + 1))
    with fresh() as wanted, first_version() as migrated:
        assert schema.migrate(migrated, 1) == schema.SCHEMA_VERSION
        assert layout(migrated) == layout(wanted)


def test_bars_that_are_made_of_a_feed_follow() -> None:
    """They have tables of their own, beside those of feeds in the views over all."""
    resampling = parse_resampling("usdt_perp_1m -> 1h", [FEED])[0]
    with fresh() as wanted, fresh() as migrated:
        for connection in (wanted, migrated):
            resample.create(connection, resampling, 0)
        schema.drop_views(migrated)
        for place in (FEED.name, resampling.name):
            migrated.execute(f'ALTER TABLE "{place}".runs DROP COLUMN state')
        schema.migrate(migrated, 1)
        assert layout(migrated) == layout(wanted)


def test_rows_of_the_first_version_say_what_they_are_worth() -> None:
    """What a run came to; bars that REST gave within 15 s of their close; funding rates that are none."""
    opened = "TIMESTAMPTZ '2026-11-01 00:00:00+00'"
    with first_version() as connection:
        connection.execute(f"SET search_path = '{FEED.name}'")
        for source, seconds in (("rest", 74), ("rest", 75), ("ws", 61), ("archive", 60)):
            connection.execute(
                f"INSERT INTO candles VALUES ('S{seconds}', {opened}, 1, 1, 1, 1, 1, 1, 1, 1, 1, '{source}', "
                f"{opened} + INTERVAL {seconds} SECOND)"
            )
        for expected, complete, missing in (
            (2, opened, "[]"),
            (0, "NULL", "[]"),
            (2, "NULL", "['A']"),
            (2, "NULL", "[]"),
        ):
            connection.execute(f"INSERT INTO runs VALUES ({opened}, {expected}, 0, {complete}, NULL, 0, {missing})")
        for rate, following in (("0", "NULL"), ("0", opened), ("0.1", "NULL")):
            connection.execute(f"INSERT INTO funding_snapshots VALUES ({opened}, 'S', {rate}, {following}, 1, 1)")
        schema.migrate(connection, 1)
        connection.execute(f"SET search_path = '{FEED.name}'")
        sources = connection.execute("SELECT symbol, source FROM candles ORDER BY symbol").fetchall()
        assert sources == [("S60", "archive"), ("S61", "ws"), ("S74", "provisional"), ("S75", "rest")]
        states = connection.execute("SELECT state FROM runs").fetchall()
        assert states == [("complete",), ("halted",), ("late",), ("open",)]
        rates = connection.execute("SELECT funding_rate FROM funding_snapshots").fetchall()
        assert rates == [(None,), (0.0,), (0.1,)]


@pytest.mark.parametrize(
    ("interval", "seconds"), [("1s", 1), ("15m", 900), ("4h", 14_400), ("1d", 86_400), ("1w", 604_800)]
)
def test_the_age_of_a_bar_counts_from_its_close_at_every_interval(interval: str, seconds: int) -> None:
    with first_version() as connection:
        connection.execute('UPDATE main.feeds SET "interval" = ?', [interval])
        for after in (14, 15):
            connection.execute(
                f"INSERT INTO {FEED.name}.candles VALUES "
                f"('S{after}', to_timestamp(0), 1, 1, 1, 1, 1, 1, 1, 1, 1, 'rest', to_timestamp({seconds + after}))"
            )
        schema.migrate(connection, 1)
        found = connection.execute(f"SELECT source FROM {FEED.name}.candles ORDER BY symbol").fetchall()
        assert found == [("provisional",), ("rest",)]


def test_a_migration_changes_what_spans_feeds_each_feed_and_the_views() -> None:
    """Made-up steps: each is run once on the whole and once a feed, the views follow, and the version is noted."""
    steps = [
        (1, "this was run long ago, and is not run again"),
        (
            2,
            "ALTER TABLE main.feeds ADD COLUMN note VARCHAR;\n"
            "-- each feed\n"
            "ALTER TABLE candles ADD COLUMN vwap DOUBLE;\n",
        ),
        (3, "-- each feed\nALTER TABLE runs ADD COLUMN took DOUBLE;"),
    ]
    with fresh() as connection:
        assert schema.migrate(connection, 1, steps) == 3
        columns = {(row[0], row[1], row[2]) for row in layout(connection)}
        assert {
            ("main", "feeds", "note"),
            (FEED.name, "candles", "vwap"),
            ("main", "candles", "vwap"),
            (FEED.name, "runs", "took"),
            ("main", "runs", "took"),
        } <= columns
        assert connection.execute("SELECT value FROM main.meta WHERE key = 'schema_version'").fetchone() == ("3",)
        assert connection.execute("SELECT current_schema()").fetchone() == ("main",)


def test_a_migration_that_fails_leaves_the_version_before() -> None:
    """Each step is a transaction: the ones before stay, the failing one leaves nothing."""
    steps = [
        (2, "ALTER TABLE main.feeds ADD COLUMN note VARCHAR"),
        (3, "-- each feed\nALTER TABLE no_such ADD COLUMN x INTEGER"),
    ]
    with fresh() as connection:
        with pytest.raises(duckdb.CatalogException):
            schema.migrate(connection, 1, steps)
        assert connection.execute("SELECT value FROM main.meta WHERE key = 'schema_version'").fetchone() == ("2",)
        assert ("main", "candles") in {row[:2] for row in layout(connection)}


def test_every_query_is_named_described_and_parses() -> None:
    """All files of queries load; every query has a description, and DuckDB can parse it."""
    folder = Path(sql.__file__).parent
    names = {path.stem for path in folder.glob("*.sql")} - {"schema", "feed"}
    assert {"commit", "store", "views", "segments", "retention", "frontier"} <= names
    for name in sorted(names):
        found = sql.queries(name)
        assert found, name
        for query in found.values():
            assert query.description
            # Queries, and then identifiers that are checked, are put in when it is used; an expression is part of one.
            text = re.sub(r"\{\w+\}", "a_name", query.sql.replace("({made})", "(SELECT 1)"))
            text = f"SELECT {text}" if text.startswith("CASE") else text
            assert len(duckdb.extract_statements(text)) == 1, (name, query.name)


@pytest.mark.parametrize("text", ["-- a: one\nSELECT 1;\n-- a: again\nSELECT 2;", "-- a: nothing follows\n"])
def test_a_file_with_a_doubled_or_empty_query_is_refused(text: str) -> None:
    """A slip in a file of queries is found when it is loaded."""
    with pytest.raises(ValueError, match="'a'"):
        sql.parse(text)


def test_a_description_may_take_several_lines() -> None:
    """Comments right behind the name are the description, later ones belong to the query."""
    query = sql.parse("-- Preamble.\n\n-- a: first line\n-- second line.\nSELECT 1 -- one\n-- two\n;")["a"]
    assert query.description == "first line second line."
    assert query.sql.startswith("SELECT 1 -- one")
