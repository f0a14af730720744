"""The layout of the file: recognised before anything is changed, created, migrated; the views that span feeds."""

from __future__ import annotations

import re
from collections.abc import Sequence

import duckdb

from bmacdb import __version__
from bmacdb.errors import NotABmacdbFile, SchemaTooNew
from bmacdb.model import Feed
from bmacdb.sql import migrations, queries, script

__all__ = [
    "FEED_TABLES",
    "SCHEMA_VERSION",
    "create",
    "create_feed",
    "create_views",
    "feed_names",
    "macros_version",
    "migrate",
    "quoted",
    "replace_macros",
    "resampled_names",
    "stored_version",
]

SCHEMA_VERSION = 2
"""The layout that this program writes."""

FEED_TABLES = (
    "candles",
    "run_status",
    "runs",
    "exginfo",
    "funding_rates",
    "funding_snapshots",
    "gaps",
    "corrections",
)

_EACH = re.compile(r"^-- each (feed|resampled) *$", re.MULTILINE)


def quoted(identifier: str) -> str:
    """An identifier as SQL takes it."""
    return '"' + identifier.replace('"', '""') + '"'


def stored_version(connection: duckdb.DuckDBPyConnection, place: str) -> int | None:
    """The layout's version, None where there is no layout yet (an empty database).

    Raises NotABmacdbFile and SchemaTooNew; `place` names the file in the message.
    """
    tables = {row[0] for row in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    if not tables:
        return None
    row = None
    if {"meta", "feeds"} <= tables:
        try:
            row = connection.execute("SELECT value FROM main.meta WHERE key = 'schema_version'").fetchone()
        except duckdb.Error:
            row = None
    if row is None or not str(row[0]).isdecimal():
        shown = ", ".join(sorted(tables)[:5])
        raise NotABmacdbFile(
            f"{place} is a database of something else (tables {shown}): give another --db; nothing was changed."
        )
    found = int(row[0])
    if found > SCHEMA_VERSION:
        raise SchemaTooNew(
            f"{place} has schema version {found}, and this bmacdb knows {SCHEMA_VERSION}: "
            "upgrade bmacdb, or give another --db. Nothing was changed."
        )
    return found


def create(connection: duckdb.DuckDBPyConnection, now_ms: int) -> None:
    """Lay out an empty database."""
    connection.begin()
    connection.execute(script("schema"))
    connection.executemany(
        "INSERT INTO main.meta VALUES (?, ?)",
        [
            ("schema_version", str(SCHEMA_VERSION)),
            ("created_by", f"bmacdb {__version__}"),
            ("created_at_ms", str(now_ms)),
        ],
    )
    connection.commit()


def migrate(
    connection: duckdb.DuckDBPyConnection,
    found: int,
    steps: Sequence[tuple[int, str]] | None = None,
) -> int:
    """Bring a file of version `found` to the newest that `steps` (those of `sql/migrations/`) reach; returns it.

    Each step is a transaction: a fault leaves the file at a version that can be gone on from.
    """
    for number, text in migrations() if steps is None else steps:
        if number <= found:
            continue
        once, *rest = _EACH.split(text)
        feeds = feed_names(connection)
        places = {"feed": feeds, "resampled": resampled_names(connection)}
        connection.begin()
        try:
            drop_views(connection)
            connection.execute(once)
            for kind, statements in zip(rest[::2], rest[1::2], strict=True):
                for place in places[kind]:
                    connection.execute(f"SET search_path = '{place}'")
                    connection.execute(statements)
            connection.execute("SET search_path = 'main'")
            create_views(connection, feeds)
            connection.execute("UPDATE main.meta SET value = $1 WHERE key = 'schema_version'", [str(number)])
        except duckdb.Error:
            connection.rollback()
            connection.execute("SET search_path = 'main'")
            raise
        connection.commit()
        found = number
    return found


def feed_names(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The feeds that the file has, by name."""
    return [row[0] for row in connection.execute("SELECT feed FROM main.feeds ORDER BY feed").fetchall()]


def create_feed(connection: duckdb.DuckDBPyConnection, feed: Feed) -> None:
    """Create the schema of a feed and its tables; within the caller's transaction."""
    connection.execute(f"CREATE SCHEMA {quoted(feed.name)}")
    connection.execute(f"SET search_path = '{feed.name}'")
    connection.execute(script("feed"))
    connection.execute("SET search_path = 'main'")


def drop_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Take the views of `main` away, so that what they stand on can be changed."""
    for (name,) in connection.execute(
        "SELECT view_name FROM duckdb_views() WHERE NOT internal AND NOT temporary AND schema_name = 'main'"
    ).fetchall():
        connection.execute(f"DROP VIEW main.{quoted(name)}")


def macros_version(connection: duckdb.DuckDBPyConnection) -> str | None:
    """Which macros of factors the file has."""
    row = connection.execute("SELECT value FROM main.meta WHERE key = 'macros'").fetchone()
    return None if row is None else str(row[0])


def replace_macros(connection: duckdb.DuckDBPyConnection, version: str, statements: Sequence[str]) -> None:
    """Create the macros of factors in place of those that there are; within the caller's transaction."""
    found = connection.execute(
        "SELECT DISTINCT schema_name, function_name, function_type FROM duckdb_functions()"
        " WHERE database_name = current_database() AND NOT internal AND function_type IN ('macro', 'table_macro')"
    ).fetchall()
    for place, name, kind in found:
        table = " TABLE" if kind == "table_macro" else ""
        connection.execute(f"DROP MACRO{table} {quoted(place)}.{quoted(name)}")
    for statement in statements:
        connection.execute(statement)
    connection.execute("DELETE FROM main.meta WHERE key = 'macros'")
    connection.execute("INSERT INTO main.meta VALUES ('macros', $1)", [version])


def resampled_names(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The schemas of bars that are made of a feed's (`bmacdb.store.resample`), by name."""
    known = "SELECT 1 FROM duckdb_tables() WHERE schema_name = 'main' AND table_name = 'resampled'"
    if connection.execute(known).fetchone() is None:
        return []
    return [row[0] for row in connection.execute("SELECT feed FROM main.resampled ORDER BY feed").fetchall()]


def _unite(connection: duckdb.DuckDBPyConnection, view: str, query: str, places: Sequence[str]) -> None:
    """A view of `query` over each of the places, as `{feed}` in it, with a first column that names the place."""
    parts = [f"SELECT '{place}' AS feed, * FROM ({query.replace('{feed}', quoted(place))})" for place in places]
    connection.execute(f"CREATE OR REPLACE VIEW main.{view} AS {' UNION ALL '.join(parts)}")


def create_views(connection: duckdb.DuckDBPyConnection, feeds: Sequence[str]) -> None:
    """Create the views of `main` anew: each table over all feeds, and what is derived from them (`feed_views.sql`,
    `views.sql`)."""
    if not feeds:
        return
    derived = resampled_names(connection)
    for table in FEED_TABLES:
        places = [*feeds, *derived] if table in ("run_status", "runs") else feeds
        _unite(connection, table, f"FROM {{feed}}.{table}", places)
    if derived:
        _unite(connection, "resampled_candles", "FROM {feed}.candles", derived)
    for query in queries("feed_views").values():
        _unite(connection, query.name, query.sql, feeds)
    for query in queries("views").values():
        connection.execute(f"CREATE OR REPLACE VIEW main.{query.name} AS {query.sql}")
