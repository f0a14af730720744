"""One batch into one feed: the statements of a transaction, on a connection of the feed's own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress

import duckdb
import pyarrow as pa

from bmacdb.model import Batch, Candle, FundingSnapshot, Ready, Run, Source
from bmacdb.sql import queries
from bmacdb.store import rows
from bmacdb.store.frontier import Frontier
from bmacdb.store.precedence import Correction, judge, layers

__all__ = ["FeedWriter", "roll_back"]

_ANSWERED = ("candles", "funding_rates", "funding_snapshots", "exginfo")


def roll_back(connection: duckdb.DuckDBPyConnection) -> None:
    """End the transaction of `connection`, if it is still in one."""
    with suppress(duckdb.Error):  # a COMMIT that failed has rolled back already, and a dead instance cannot
        connection.execute("ROLLBACK")


def _candle_key(candle: Candle) -> tuple[str, int]:
    return candle.symbol, candle.open_time_ms


def _ready_key(row: Ready) -> tuple[str, int]:
    return row.item, row.run_time_ms


def _snapshot_key(row: FundingSnapshot) -> tuple[str, int]:
    return row.symbol, row.run_time_ms


def _run_key(run: Run) -> tuple[str, int]:
    return "", run.run_time_ms


class FeedWriter:
    """Writes batches of one feed; `connection` is its own, with the feed's schema as the search path."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, feed: str) -> None:
        self.feed = feed
        self.connection = connection
        self._sql = {query.name: query.sql for query in queries("commit").values()}
        self._slots = {name: rows.Slot(schema) for name, schema in rows.SCHEMAS.items()}
        self._slots["corrections"] = rows.Slot(rows.CORRECTION_SCHEMA)
        self._frontiers: dict[str, Frontier] = {}
        self._written: defaultdict[str, list[pa.Table]] = defaultdict(list)
        connection.execute(f"SET search_path = '{feed}'")
        for name, slot in self._slots.items():
            connection.register(f"new_{name}", slot)
        for name, sql in self._sql.items():
            if name.startswith("add_"):
                connection.execute(f"PREPARE {name} AS {sql}")
        self._known_frontiers()  # now, and not in the first commit: over millions of rows it takes a moment

    def __repr__(self) -> str:
        return f"<FeedWriter {self.feed}>"

    def forget(self) -> None:
        """Ask the tables anew how far they reach: something else may have written to them."""
        self._frontiers.clear()

    def commit(self, batch: Batch) -> dict[str, pa.Table]:
        """Write the whole batch or nothing of it. Raises duckdb.Error.

        Returns the rows that it added or replaced in `candles`, `funding_rates`, `funding_snapshots` and `exginfo`, as
        they now stand there: each once, columns as in `rows.SCHEMAS`.
        """
        frontiers = self._known_frontiers()
        self._written.clear()
        self.connection.execute("BEGIN")
        try:
            self._write(batch)
            self.connection.execute("COMMIT")
        except duckdb.Error:
            self.forget()
            roll_back(self.connection)
            raise
        finally:
            for slot in self._slots.values():
                slot.clear()
        frontiers["candles"].advance(map(_candle_key, batch.candles))
        frontiers["run_status"].advance(map(_ready_key, batch.ready))
        frontiers["funding_snapshots"].advance(map(_snapshot_key, batch.funding_snapshots))
        frontiers["runs"].advance(map(_run_key, batch.runs))
        written = {name: _as_they_stand(parts) for name, parts in self._written.items()}
        self._written.clear()
        return written

    def _known_frontiers(self) -> Mapping[str, Frontier]:
        if not self._frontiers:
            self._frontiers = {
                name: Frontier(dict(self.connection.execute(query.sql).fetchall()))
                for name, query in queries("frontier").items()
            }
        return self._frontiers

    def _write(self, batch: Batch) -> None:
        if batch.candles:
            self._write_candles(batch.candles, batch.recorded_at_ms)
        if batch.ready:
            self._write_ready({_ready_key(row): row for row in reversed(batch.ready)})  # the first of a key stays
        if batch.runs:
            self._write_runs({run.run_time_ms: run for run in batch.runs})
        if batch.gaps:
            gaps = {(gap.symbol, gap.gap_start_ms): gap for gap in batch.gaps}
            self._merge("gaps", rows.gap_rows(list(gaps.values())), [key[1] for key in gaps])
        if batch.funding_rates:
            rates = {
                (rate.symbol, rate.funding_time_ms, rate.rate_type): rate for rate in reversed(batch.funding_rates)
            }
            table = rows.funding_rate_rows(list(rates.values()))
            self._note("funding_rates", self._merge("funding_rates", table, [key[1] for key in rates]))
        if batch.funding_snapshots:
            self._write_snapshots({_snapshot_key(row): row for row in reversed(batch.funding_snapshots)})
        if batch.exginfo:
            infos = {info.symbol: info for info in batch.exginfo}
            self._slots["exginfo"].put(rows.exginfo_rows(list(infos.values()), batch.recorded_at_ms))
            self._note("exginfo", self.connection.execute(self._sql["exginfo"]))

    def _write_ready(self, ready: Mapping[tuple[str, int], Ready]) -> None:
        beyond, others = self._frontiers["run_status"].split(ready.values(), _ready_key)
        if beyond:
            self._add("run_status", rows.ready_rows(beyond))
        if others:
            self._merge("run_status", rows.ready_rows(others), [row.run_time_ms for row in others])

    def _write_snapshots(self, snapshots: Mapping[tuple[str, int], FundingSnapshot]) -> None:
        beyond, others = self._frontiers["funding_snapshots"].split(snapshots.values(), _snapshot_key)
        if beyond:
            self._add("funding_snapshots", rows.funding_snapshot_rows(beyond))
        if others:
            table = rows.funding_snapshot_rows(others)
            self._note(
                "funding_snapshots", self._merge("funding_snapshots", table, [row.run_time_ms for row in others])
            )

    def _write_runs(self, runs: Mapping[int, Run]) -> None:
        _, known = self._frontiers["runs"].split(runs.values(), _run_key)
        if known:
            times = [1000 * run.run_time_ms for run in known]
            bounds = {"start": min(times), "end": max(times), "times": times}
            self.connection.execute(self._sql["clear_runs"], bounds)
        self._add("runs", rows.run_rows(list(runs.values())))

    def _add(self, name: str, table: pa.Table) -> None:
        self._slots[name].put(table)
        self.connection.execute(f"EXECUTE add_{name}")
        if name in _ANSWERED:
            self._written[name].append(table)

    def _merge(
        self, name: str, table: pa.Table, times_ms: Sequence[int], *, statement: str = ""
    ) -> duckdb.DuckDBPyConnection:
        """Run the statement of `name` over the rows of `table`, whose times are given."""
        self._slots[name].put(table)
        bounds = {"start": 1000 * min(times_ms), "end": 1000 * max(times_ms)}
        return self.connection.execute(self._sql[statement or name], bounds)

    def _note(self, name: str, answer: duckdb.DuckDBPyConnection) -> int:
        """Note the rows that a statement answers with as written; returns how many."""
        table = answer.to_arrow_table().select(rows.SCHEMAS[name].names).cast(rows.SCHEMAS[name])
        if table.num_rows:
            self._written[name].append(table)
        return int(table.num_rows)

    def _write_candles(self, candles: Sequence[Candle], recorded_at_ms: int) -> None:
        def table_of(some: Sequence[Candle]) -> pa.Table:
            return rows.candle_rows(some, recorded_at_ms)

        first, *repeated = layers(candles)
        beyond, others = self._frontiers["candles"].split(first, _candle_key)
        if beyond:
            self._add("candles", table_of(beyond))
        corrections: list[Correction] = []
        for layer in (others, *repeated):
            times_ms = [candle.open_time_ms for candle in layer]
            if not layer:
                continue
            if self._note("candles", self._merge("candles", table_of(layer), times_ms)) == len(layer):
                continue
            replacements: list[Candle] = []
            later = {_candle_key(candle): candle for candle in layer}
            for recorded in self._disagreeing(times_ms):
                winner, correction = judge(recorded, later[_candle_key(recorded)])
                if correction is not None:
                    corrections.append(correction)
                if winner is not recorded:
                    replacements.append(winner)
            if replacements:
                times_ms = [candle.open_time_ms for candle in replacements]
                table = table_of(replacements)
                self._merge("candles", table, times_ms, statement="replace_candles")
                self._written["candles"].append(table)
        if corrections:
            self._slots["corrections"].put(rows.correction_rows(corrections, recorded_at_ms))
            self.connection.execute(self._sql["corrections"])

    def _disagreeing(self, times_ms: Sequence[int]) -> list[Candle]:
        """The recorded versions that differ from the candles in the slot, whose times are given."""
        bounds = {"start": 1000 * min(times_ms), "end": 1000 * max(times_ms)}
        found = self.connection.execute(self._sql["disagreeing"], bounds).fetchall()
        return [Candle(*(*row[:-1], Source(row[-1]))) for row in found]


def _as_they_stand(parts: list[pa.Table]) -> pa.Table:
    """The rows of `parts` as one table; of a candle that was written twice, the later row."""
    table = pa.concat_tables(parts).combine_chunks()
    if len(parts) == 1 or "open_time" not in table.column_names:
        return table
    keys = zip(table["symbol"].to_pylist(), table["open_time"].cast(pa.int64()).to_pylist(), strict=True)
    last = {key: place for place, key in enumerate(keys)}
    return table if len(last) == table.num_rows else table.take(sorted(last.values()))
