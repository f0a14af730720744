"""The guard of the server: which statements a client may send.

Quack itself lets a client do anything. Before a statement runs, Quack asks a macro (`quack_authorization_function`),
which answers with the statement to run in its place, or with null to refuse. The macro (`sql/serve.sql`) looks at the
statement as DuckDB's own parser understands it, and everything that the statement names must be on a list: tables and
schemas that exist, functions that compute. It lives in a database in memory, so that nothing of it gets into the file.
"""

from __future__ import annotations

import threading

import duckdb

from bmacdb.sql import queries
from bmacdb.store.literals import bind

__all__ = ["DENIED_FUNCTIONS", "LONGEST_QUERY", "TABLE_FUNCTIONS", "install", "refresh"]

LONGEST_QUERY = 200_000
"""Bytes. Longer ones are refused: they are no questions, and the parser's stack is not endless."""

TABLE_FUNCTIONS = frozenset(
    (
        *("range", "generate_series", "unnest", "repeat", "repeat_row", "json_each", "json_tree", "histogram"),
        *("histogram_values", "duckdb_tables", "duckdb_views", "duckdb_columns", "duckdb_schemas", "duckdb_types"),
        "duckdb_functions",
    )
)
"""Functions in FROM that compute, or tell the layout: no files, settings, secrets or logs, and nothing that acts."""

DENIED_FUNCTIONS = (
    "current_setting|getenv|getvariable|which_secret|whoami|"  # settings, secrets
    "nextval|currval|setseed|write_log|sleep_ms|"  # writing, stalling
    "current_query|current_query_id|parse_duckdb_log_message|stats|get_block_size|"  # DuckDB's inside
    "json_serialize_plan|json_execute_serialized_sql|query|query_table|"  # a text as a query
    "quack_.*|bmacdb_.*|duckdb_.*|pragma_.*|read_.*|parquet_.*|"
    "pg_(?:[^st].*|s[^i].*|t[^y].*)|has_.*_privilege|.*_description"  # all of pg_ but pg_size_pretty and pg_typeof
)
"""Scalar functions, as a regular expression over their names, that readers do not get; they get all others."""

_READABLE_SYSTEM = frozenset({"schemata", "tables", "columns", "duckdb_tables", "duckdb_views", "duckdb_columns"})
_SHOW = frozenset({"", '\\"tables\\"', "__show_tables_expanded"})  # as SHOW TABLES and SHOW ALL TABLES look in the tree


def install(connection: duckdb.DuckDBPyConnection) -> None:
    """Set the guard up in the database of `connection`. Raises duckdb.Error."""
    connection.execute("ATTACH IF NOT EXISTS ':memory:' AS guard")
    connection.execute("CREATE SCHEMA IF NOT EXISTS guard.rules")
    for name, query in queries("serve").items():
        if name.startswith("guard_"):
            connection.execute(bind(query.sql, {"longest": LONGEST_QUERY} if "$longest" in query.sql else None))
    refresh(connection)
    connection.execute("SET GLOBAL quack_authorization_function = 'guard.rules.bmacdb_guard'")


def refresh(connection: duckdb.DuckDBPyConnection) -> None:
    """Bring the guard up to date with the tables, feeds and macros that there are."""
    with _refreshing:  # of two at a time, the one that looked first could write last
        _refresh(connection)


_refreshing = threading.Lock()


def _refresh(connection: duckdb.DuckDBPyConnection) -> None:
    place = connection.execute("SELECT lower(current_database())").fetchone()
    database = place[0] if place else ""
    there = connection.execute(
        "SELECT lower(schema_name), lower(table_name) FROM duckdb_tables() WHERE lower(database_name) = $1 "
        "UNION ALL SELECT lower(schema_name), lower(view_name) FROM duckdb_views() "
        "WHERE lower(database_name) = $1 AND NOT internal",
        [database],
    ).fetchall()
    functions = connection.execute(
        "SELECT lower(function_name) AS name FROM duckdb_functions() WHERE database_name = 'system' GROUP BY name "
        "HAVING bool_or(function_type IN ('scalar', 'aggregate', 'macro')) "
        "AND NOT bool_or(function_type IN ('table', 'table_macro')) AND NOT regexp_full_match(name, $1)",
        [DENIED_FUNCTIONS],
    ).fetchall()
    # Macros of the file: factors and helpers. One with the name of a function of DuckDB's own opens no door to it.
    functions += connection.execute(
        "SELECT lower(function_name) AS name FROM duckdb_functions() GROUP BY name "
        "HAVING bool_or(lower(database_name) = $1 AND function_type IN ('macro', 'table_macro')) "
        "AND NOT bool_or(database_name = 'system') AND NOT regexp_full_match(name, $2)",
        [database, DENIED_FUNCTIONS],
    ).fetchall()
    places = {schema for schema, _ in there} | {"", "main", "information_schema", database}
    connection.execute(
        "BEGIN; DELETE FROM guard.rules.known;"
        + bind(
            "INSERT INTO guard.rules.known VALUES ($tables, $functions); COMMIT",
            {
                "tables": sorted({table for _, table in there} | places | _READABLE_SYSTEM | _SHOW),
                "functions": sorted({name for (name,) in functions} | TABLE_FUNCTIONS),
            },
        )
    )
