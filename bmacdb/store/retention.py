"""Retention: what is older than a boundary goes, a little each period."""

from __future__ import annotations

import duckdb

from bmacdb.sql import queries

__all__ = ["delete_before"]


def delete_before(connection: duckdb.DuckDBPyConnection, before_ms: int) -> int:
    """Delete the history of the feed at hand that opened (settled, was due, …) before `before_ms`, in the caller's
    transaction; returns how many candles went. `exginfo` stays: it is small, and delisted symbols live on in it."""
    deleted = 0
    for query in queries("retention").values():
        row = connection.execute(query.sql, {"before": 1000 * before_ms}).fetchone()
        if query.name == "candles" and row is not None:
            deleted = int(row[0])
    return deleted
