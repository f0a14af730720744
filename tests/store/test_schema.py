"""The layout: `schema.sql` and `feed.sql` are the truth, and migrations reach it."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest

from bmacdb import sql
from bmacdb.store import schema
from bmacdb.symbols import make_feed

FEED = make_feed("usdt_perp", "1m")


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
    connection.execute(
        "INSERT INTO main.feeds VALUES ($1, 'x', 'x', '1m', to_timestamp(0), 1, to_timestamp(0), to_timestamp(0))",
        [FEED.name],
    )
    schema.create_views(connection, [FEED.name])
    return connection


def test_migrations_reproduce_the_schema() -> None:
    """The oldest layout, kept as it was, plus all migrations is the present layout; versions have no hole."""
    versions = [version for version, _ in sql.migrations()]
    assert versions == list(range(2, schema.SCHEMA_VERSION + 1))
    with fresh() as wanted, fresh() as migrated:  # version 1 is the present one: there is nothing older to begin with
        assert schema.migrate(migrated, 1) == schema.SCHEMA_VERSION
        assert layout(migrated) == layout(wanted)


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
