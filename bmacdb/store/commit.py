"""One batch into one feed: the statements of a transaction, on a connection of the feed's own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

import duckdb
import pyarrow as pa

from bmacdb.model import Batch, Candle, Source
from bmacdb.sql import queries
from bmacdb.store import rows
from bmacdb.store.precedence import Correction, fold, judge

__all__ = ["FeedWriter", "roll_back"]


def roll_back(connection: duckdb.DuckDBPyConnection) -> None:
    """End the transaction of `connection`, if it is still in one."""
    with suppress(duckdb.Error):  # a COMMIT that failed has rolled back already, and a dead instance cannot
        connection.execute("ROLLBACK")


class FeedWriter:
    """Writes batches of one feed; `connection` is its own, with the feed's schema as the search path."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, feed: str) -> None:
        self.feed = feed
        self.connection = connection
        self._sql = {query.name: query.sql for query in queries("commit").values()}
        self._slots = {name: rows.Slot(schema) for name, schema in rows.SCHEMAS.items()}
        self._slots["corrections"] = rows.Slot(rows.CORRECTION_SCHEMA)
        connection.execute(f"SET search_path = '{feed}'")
        for name, slot in self._slots.items():
            connection.register(f"new_{name}", slot)

    def __repr__(self) -> str:
        return f"<FeedWriter {self.feed}>"

    def commit(self, batch: Batch) -> None:
        """Write the whole batch or nothing of it. Raises duckdb.Error."""
        self.connection.execute("BEGIN")
        try:
            self._write(batch)
            self.connection.execute("COMMIT")
        except duckdb.Error:
            roll_back(self.connection)
            raise
        finally:
            for slot in self._slots.values():
                slot.clear()

    def _write(self, batch: Batch) -> None:
        if batch.candles:
            self._write_candles(batch.candles, batch.recorded_at_ms)
        if batch.ready:
            ready = {(row.run_time_ms, row.item): row for row in reversed(batch.ready)}
            self._merge("run_status", rows.ready_rows(list(ready.values())), [key[0] for key in ready])
        if batch.runs:
            runs = {run.run_time_ms: run for run in batch.runs}
            self._merge("runs", rows.run_rows(list(runs.values())), runs)
        if batch.gaps:
            gaps = {(gap.symbol, gap.gap_start_ms): gap for gap in batch.gaps}
            self._merge("gaps", rows.gap_rows(list(gaps.values())), [key[1] for key in gaps])
        if batch.funding_rates:
            rates = {(r.symbol, r.funding_time_ms, r.rate_type): r for r in reversed(batch.funding_rates)}
            self._merge("funding_rates", rows.funding_rate_rows(list(rates.values())), [key[1] for key in rates])
        if batch.funding_snapshots:
            snapshots = {(row.run_time_ms, row.symbol): row for row in reversed(batch.funding_snapshots)}
            table = rows.funding_snapshot_rows(list(snapshots.values()))
            self._merge("funding_snapshots", table, [key[0] for key in snapshots])
        if batch.exginfo:
            infos = {info.symbol: info for info in batch.exginfo}
            self._slots["exginfo"].put(rows.exginfo_rows(list(infos.values()), batch.recorded_at_ms))
            self.connection.execute(self._sql["exginfo"])

    def _merge(self, name: str, table: pa.Table, times_ms: Iterable[int], *, statement: str | None = None) -> int:
        """Run the statement of `name` over the rows of `table`, whose times are given; returns the rows it changed."""
        times = list(times_ms)
        self._slots[name].put(table)
        bounds = {"start": 1000 * min(times), "end": 1000 * max(times)}
        row = self.connection.execute(self._sql[statement or name], bounds).fetchone()
        return 0 if row is None else int(row[0])

    def _write_candles(self, candles: Sequence[Candle], recorded_at_ms: int) -> None:
        standing, corrections = fold(candles)
        times = [candle.open_time_ms for candle in standing]
        added = self._merge("candles", rows.candle_rows(standing, recorded_at_ms), times)
        if added < len(standing):
            # Some were there already: the rare case, so that the usual one is a single statement.
            replacements: list[Candle] = []
            new = {(candle.symbol, candle.open_time_ms): candle for candle in standing}
            for recorded in self._disagreeing(times):
                winner, correction = judge(recorded, new[recorded.symbol, recorded.open_time_ms])
                if correction is not None:
                    corrections.append(correction)
                if winner is not recorded:
                    replacements.append(winner)
            if replacements:
                table = rows.candle_rows(replacements, recorded_at_ms)
                self._merge("candles", table, [c.open_time_ms for c in replacements], statement="replace_candles")
        if corrections:
            self._note(corrections, recorded_at_ms)

    def _disagreeing(self, times: Sequence[int]) -> list[Candle]:
        bounds = {"start": 1000 * min(times), "end": 1000 * max(times)}
        found = self.connection.execute(self._sql["disagreeing"], bounds).fetchall()
        return [Candle(*(*row[:-1], Source(row[-1]))) for row in found]

    def _note(self, corrections: Sequence[Correction], noticed_at_ms: int) -> None:
        self._slots["corrections"].put(rows.correction_rows(corrections, noticed_at_ms))
        self.connection.execute(self._sql["corrections"])
