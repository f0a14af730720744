"""Small facts that a recorder remembers over restarts: text by name, in the table that holds the schema's version."""

from __future__ import annotations

import duckdb

from bmacdb.store.writer import Store

__all__ = ["recall", "remember"]

_PREFIX = "remembered "  # apart from what the file says of itself


async def recall(store: Store, name: str) -> str | None:
    """What was remembered under `name`."""

    def work(connection: duckdb.DuckDBPyConnection) -> str | None:
        query = "SELECT value FROM main.meta WHERE key = $1"
        row = connection.execute(query, [_PREFIX + name]).fetchone()
        return None if row is None else str(row[0])

    return await store.beside(work)


async def remember(store: Store, name: str, value: str) -> None:
    """Remember `value` under `name`."""

    def work(connection: duckdb.DuckDBPyConnection) -> None:
        values = [_PREFIX + name, value]
        known = connection.execute("UPDATE main.meta SET value = $2 WHERE key = $1 RETURNING key", values).fetchone()
        if known is None:
            connection.execute("INSERT INTO main.meta VALUES ($1, $2)", values)

    await store.beside(work)
