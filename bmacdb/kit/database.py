"""Candles for factors out of a database: a connection of bmacdb's, or a plain DuckDB one, and a feed in it."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol

import duckdb
import numpy as np
import pyarrow as pa

from bmacdb.errors import StoreError, UsageError, did_you_mean
from bmacdb.factors.call import check_identifier
from bmacdb.factors.columns import CANDLE_COLUMNS, FUNDING_COLUMNS
from bmacdb.factors.grid import Grid
from bmacdb.factors.statement import SETTLED_S, stamp
from bmacdb.interval import Interval
from bmacdb.kit.range import Range, cells_statement, fundings_statement, quote, rows_statement, there_statement
from bmacdb.kit.rows import Rows, opens_of, ordered
from bmacdb.kit.workers import Workers
from bmacdb.symbols import parse_feed

__all__ = ["Connection", "DatabaseSource"]

_CELLS_AT_ONCE = 300_000
"""Bars times symbols of one question; two of them are held, at some 200 bytes for each."""

_READ_FIRST = 300_000
_READ_AT_ONCE = 700_000
"""Rows of the first question, so that workers have something to do soon, and of the others: each costs a scan."""


class Connection(Protocol):
    """What is asked of a connection; `bmacdb.connect` gives one."""

    def sql(self, query: str, /) -> Any:
        """An answer with `.arrow()`."""


@dataclass(frozen=True, slots=True)
class DatabaseSource:
    """A feed and the way to ask for it. One question at a time: a connection is no place for two threads."""

    connection: Connection
    schema: str
    interval: Interval
    num_candles: int
    lock: threading.Lock
    workers: Workers

    @classmethod
    def of(
        cls,
        connection: Connection,
        feed: str | None = None,
        lock: threading.Lock | None = None,
        workers: Workers | None = None,
    ) -> DatabaseSource:
        """The feed called `feed`, or the only one. Raises UsageError when it is not there or not clear."""
        wanted = None if feed is None else parse_feed(check_identifier(feed, "feed name")).name
        lock = lock or threading.Lock()
        with lock:
            found = _ask(
                connection,
                'SELECT feed, "interval", epoch_ms(anchor) AS anchor_ms, num_candles FROM main.feeds ORDER BY feed',
            ).to_pylist()
        names = [row["feed"] for row in found]
        if not names:
            raise UsageError("the database holds no feed yet: start the recorder first (`bmacdb run`).")
        if wanted is None:
            if len(names) > 1:
                raise UsageError(f"the database holds {', '.join(names)}: say which, as --feed {names[0]} or feed=….")
            wanted = names[0]
        row = next((row for row in found if row["feed"] == wanted), None)
        if row is None:
            hint = did_you_mean(wanted, names)
            raise UsageError(f"feed {wanted!r} is not in the database, which holds {', '.join(names)}.{hint}")
        check_identifier(wanted, "feed name")
        interval = Interval.parse(row["interval"]).anchored(row["anchor_ms"])
        return cls(connection, wanted, interval, row["num_candles"], lock, workers or Workers(1))

    def ask(self, query: str) -> pa.Table:
        """The answer to one SELECT."""
        with self.lock:
            return _ask(self.connection, query)

    def number(self, query: str) -> int | None:
        """The only value of an answer."""
        rows = self.ask(query)
        return rows.column(0)[0].as_py() if rows.num_rows else None

    def latest_run_time_ms(self) -> int:
        """The newest run time at which the market was complete; without one, that of the newest candle.

        Raises UsageError when there is no candle at all.
        """
        complete = self.number(
            f'SELECT epoch_ms(max(run_time)) FROM "{self.schema}".runs WHERE complete_at IS NOT NULL'
        )
        if complete is not None:
            return complete
        newest = self.number(f'SELECT epoch_ms(max(open_time)) FROM "{self.schema}".candles')
        if newest is None:
            raise UsageError(f"feed {self.schema} holds no candle yet: wait for the recorder's first.")
        return self.interval.next(newest)

    def grids(self, span: Range, lookback: int, back: int, columns: Collection[str]) -> Iterator[Grid]:
        """See CandleSource. The size of the pieces changes no value."""
        # Of the market at an earlier bar, a symbol that is gone by now is a part.
        candles = self.ask(there_statement(span, back))
        symbols = tuple(candles.column("symbol").to_pylist())
        if not symbols:
            return
        opens = opens_of(span, 1)
        bars = min(max(_CELLS_AT_ONCE // len(symbols), lookback), len(opens))
        reading = _Reading(self, symbols, columns, candles if "close" in candles.column_names else None)
        pieces = [
            Range(span.schema, span.interval, int(part[0]), int(part[-1]))
            for part in (opens[low : low + bars] for low in range(0, len(opens), bars))
        ]
        grid: Grid | None = None
        with ThreadPoolExecutor(1) as ahead:  # the next piece comes while one is computed
            coming = ahead.submit(reading.ask, pieces[0], lookback)
            for piece, following in zip(pieces, [*pieces[1:], None], strict=True):
                answers = coming.result()
                if following is not None:
                    coming = ahead.submit(reading.ask, following, 1)
                grid = reading.grid(piece, lookback, answers, grid)
                yield grid

    def rows(self, span: Range, lookback: int, symbols: Sequence[str], *, funding: bool = False) -> Iterator[Rows]:
        """See CandleSource."""
        _, _, total = span.grid(lookback)
        first, several = 0, max(_READ_FIRST // total, 1)
        while first < len(symbols):
            part = symbols[first : first + several]
            first, several = first + several, max(_READ_AT_ONCE // total, 1)
            table = self.ask(rows_statement(span, lookback=lookback, between=(part[0], part[-1])))
            if table.num_rows:
                rows = ordered(table, set(part))
                yield _with_funding(self, span, lookback, rows) if funding else rows

    def table(self, name: str, span: Range) -> pa.Table:
        """See CandleSource."""
        until = f" WHERE funding_time < {span.until()}" if name == "funding_rates" else ""
        return self.ask(f"SELECT * FROM {span.table(name)}{until}")

    def trading(self, open_ms: int) -> list[str]:
        """See CandleSource."""
        rows = self.ask(
            "SELECT symbol FROM (SELECT symbol, arg_max(status, valid_from) AS status"
            f' FROM "{self.schema}".exginfo WHERE valid_from <= {stamp(open_ms)} GROUP BY symbol)'
            f" WHERE status = {quote('TRADING')} ORDER BY symbol"
        )
        names: list[str] = rows.column("symbol").to_pylist()
        return names


def _ask(connection: Connection, query: str) -> pa.Table:
    try:
        if isinstance(connection, duckdb.DuckDBPyConnection):
            return connection.execute(query).to_arrow_table()
        answer = connection.sql(query).arrow()
    except duckdb.Error as exc:
        raise StoreError(f"the database refused a query of the kit: {exc}") from exc
    return answer.read_all() if isinstance(answer, pa.RecordBatchReader) else answer


@dataclass(frozen=True, slots=True)
class _Reading:
    """`last`: the candles of the only bar of the range, where they are known."""

    source: DatabaseSource
    symbols: tuple[str, ...]
    needed: Collection[str]
    last: pa.Table | None

    def ask(self, span: Range, lookback: int) -> list[pa.Table]:
        """The bars of a range and of the look-back up to its first: cell, columns."""
        wanted = [name for name in CANDLE_COLUMNS if self.last is None or name in self.needed]
        answers = [self.source.ask(cells_statement(span, self.symbols, lookback, wanted))]
        if set(self.needed).intersection(FUNDING_COLUMNS):
            answers.append(self.source.ask(fundings_statement(span, self.symbols, lookback)))
        return answers

    def grid(self, span: Range, lookback: int, answers: list[pa.Table], before: Grid | None) -> Grid:
        """What was answered; the bars of the look-back come from the piece before, where there was one."""
        opens = opens_of(span, lookback)
        width = len(self.symbols)
        shape = len(opens), width
        asked = 0 if before is None else (lookback - 1) * width
        names = [*CANDLE_COLUMNS, *(FUNDING_COLUMNS if len(answers) > 1 else ())]
        block = np.empty((len(names), *shape))  # one piece of memory: its pages are there sooner
        columns = dict(zip(names, block, strict=True))
        there = np.zeros(shape, dtype=bool)
        if answers[0].num_rows < there.size - asked or len(answers) > 1 or self.last is not None:
            block.fill(np.nan)
        if self.last is not None:
            there[-1] = True
            for name in CANDLE_COLUMNS:
                columns[name][-1] = self.last.column(name).to_numpy()
        if before is not None:
            keep = slice(len(before.opens) - lookback + 1, None)
            there[: lookback - 1] = before.there[keep]
            for name in names:
                columns[name][: lookback - 1] = before.columns[name][keep]
        there.ravel()[asked:][answers[0].column("cell").to_numpy()] = True
        for answer in answers:
            cells = answer.column("cell").to_numpy().astype(np.intp)
            for name in answer.column_names[1:]:
                columns[name].ravel()[asked:][cells] = answer.column(name).to_numpy()
        return Grid(self.symbols, opens, columns, there)


def _with_funding(source: DatabaseSource, span: Range, lookback: int, rows: Rows) -> Rows:
    start, end, total = span.grid(lookback)
    table = span.table("funding_rates")
    known = source.number(f"SELECT count(*) FROM (FROM {table} LIMIT 1)")
    column = np.full(len(rows.places), 0.0 if known else np.nan)
    settled = f"date_trunc('second', funding_time) + INTERVAL {SETTLED_S} SECOND"  # sooner it is not known live
    low, high = quote(rows.symbols[0]), quote(rows.symbols[-1])
    found = source.ask(
        f"SELECT symbol, ({span.place(lookback, settled)})::INTEGER AS k,"
        f" arg_max(funding_rate, funding_time)::DOUBLE AS rate FROM {table}"
        f" WHERE {settled} >= {stamp(start)} AND {settled} < {stamp(end)} AND symbol >= {low} AND symbol <= {high}"
        " GROUP BY ALL"
    )
    numbers = {symbol: number for number, symbol in enumerate(rows.symbols)}
    owners = np.repeat(np.arange(len(rows.symbols)), np.diff(rows.bounds, prepend=0))
    cells = owners * total + rows.places
    for symbol, place, rate in zip(*(column.to_pylist() for column in found.columns), strict=True):
        if symbol in numbers:
            row = int(np.searchsorted(cells, numbers[symbol] * total + place))
            if row < len(cells) and cells[row] == numbers[symbol] * total + place:
                column[row] = rate
    return replace(rows, block=np.vstack([rows.block, column]), names=(*rows.names, "fundingRate"))
