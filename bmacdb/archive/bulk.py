"""Candles of the archive by the million, into a feed of a file at rest; runs on the Store's thread.

A Batch of single candles is for what comes in by the period. Here whole tables go in, and only where something is
recorded already are bars compared, by the same rule: where versions differ the archive's stands, and both are noted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from bmacdb.archive.holes import settled
from bmacdb.archive.table import stamped
from bmacdb.interval import Interval
from bmacdb.model import Feed, Gap, GapState
from bmacdb.sql import queries
from bmacdb.store import rows
from bmacdb.store.commit import roll_back
from bmacdb.store.segments import find_segments

__all__ = ["Written", "write_candles", "write_funding", "write_gaps"]


@dataclass(frozen=True, slots=True)
class Written:
    """What became of rows: `added` were not there, `changed` differed from what was."""

    added: int = 0
    changed: int = 0

    def __add__(self, other: Written) -> Written:
        return Written(self.added + other.added, self.changed + other.changed)


def write_candles(connection: duckdb.DuckDBPyConnection, feed: Feed, candles: pa.Table, now_ms: int) -> Written:
    """Write a table of candles (schema `table.CANDLE_SCHEMA`, source archive, each key once) in one transaction.

    Holes that the bars fill are closed in the same. Raises duckdb.Error; nothing is written then.
    """
    if not candles.num_rows:
        return Written()
    with connection.cursor() as cursor:
        cursor.execute(f"SET search_path = '{feed.name}'")
        return _transaction(cursor, lambda: _write(cursor, feed.interval, stamped(candles, now_ms), now_ms))


def _transaction(cursor: duckdb.DuckDBPyConnection, work: Callable[[], Written]) -> Written:
    cursor.execute("BEGIN")
    try:
        written = work()
        cursor.execute("COMMIT")
    except duckdb.Error:
        roll_back(cursor)
        raise
    return written


def _write(cursor: duckdb.DuckDBPyConnection, interval: Interval, candles: pa.Table, now_ms: int) -> Written:
    sql = {name: query.sql for name, query in queries("history").items()}
    times = pc.min_max(candles["open_time"].cast(pa.int64())).as_py()
    bounds = {"start": times["min"], "end": times["max"]}
    symbols = pc.unique(candles["symbol"]).to_pylist()
    cursor.register("incoming", candles)
    if not _number(cursor, sql["overlap"], bounds):
        written = Written(_number(cursor, sql["add_all"]))
    else:
        changed = _number(cursor, sql["correct"], {**bounds, "now": 1000 * now_ms})
        _number(cursor, sql["replace"], bounds)
        written = Written(_number(cursor, sql["add_new"], bounds), changed)
    cursor.unregister("incoming")
    if written.added:
        _close_gaps(cursor, interval, symbols, bounds, now_ms, sql["touched_gaps"])
    return written


def _number(cursor: duckdb.DuckDBPyConnection, sql: str, values: dict[str, object] | None = None) -> int:
    row = cursor.execute(sql, values).fetchone()
    return 0 if row is None else int(row[0])


def _close_gaps(
    cursor: duckdb.DuckDBPyConnection,
    interval: Interval,
    symbols: Collection[str],
    bounds: dict[str, int],
    now_ms: int,
    sql: str,
) -> None:
    found = cursor.execute(sql, {**bounds, "symbols": list(symbols)}).fetchall()
    gaps = [
        Gap(symbol, start_ms, end_ms, GapState(state), reason, found_ms, closed_ms)
        for symbol, start_ms, end_ms, state, reason, found_ms, closed_ms in found
    ]
    if not gaps:
        return
    bars = find_segments(
        cursor,
        interval,
        start_ms=min(gap.gap_start_ms for gap in gaps),
        end_ms=max(gap.gap_end_ms for gap in gaps),
        symbols={gap.symbol for gap in gaps},
    )
    changed = [
        row for gap in gaps for row in settled(gap, interval, bars.get(gap.symbol, ()), now_ms=now_ms) if row != gap
    ]
    if changed:
        _merge_gaps(cursor, changed)


def _merge_gaps(cursor: duckdb.DuckDBPyConnection, gaps: list[Gap]) -> None:
    times = [gap.gap_start_ms for gap in gaps]
    cursor.register("new_gaps", rows.gap_rows(gaps))
    cursor.execute(queries("commit")["gaps"].sql, {"start": 1000 * min(times), "end": 1000 * max(times)})
    cursor.unregister("new_gaps")


def write_gaps(connection: duckdb.DuckDBPyConnection, feed: Feed, gaps: Collection[Gap]) -> None:
    """Write holes; a row with the key of a recorded one replaces it. Raises duckdb.Error."""
    if not gaps:
        return

    with connection.cursor() as cursor:
        cursor.execute(f"SET search_path = '{feed.name}'")

        def work() -> Written:
            _merge_gaps(cursor, list({(gap.symbol, gap.gap_start_ms): gap for gap in gaps}.values()))
            return Written()

        _transaction(cursor, work)


def write_funding(connection: duckdb.DuckDBPyConnection, feed: Feed, fundings: pa.Table) -> Written:
    """Write a table of settled fundings (schema `table.FUNDING_SCHEMA`) that are not there. Raises duckdb.Error."""
    if not fundings.num_rows:
        return Written()
    times = pc.min_max(fundings["funding_time"].cast(pa.int64())).as_py()
    with connection.cursor() as cursor:
        cursor.execute(f"SET search_path = '{feed.name}'")
        cursor.register("incoming", fundings)

        def work() -> Written:
            bounds: dict[str, object] = {"start": times["min"], "end": times["max"]}
            return Written(_number(cursor, queries("history")["add_funding"].sql, bounds))

        return _transaction(cursor, work)
