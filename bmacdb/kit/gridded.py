"""Factors in SQL: candles are read into grids, some bars of all symbols at a time, and computed there."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from bmacdb.factors.bind import Bound
from bmacdb.factors.columns import CANDLE_COLUMNS, FUNDING_COLUMNS
from bmacdb.factors.grid import Array, Grid
from bmacdb.factors.query import tables_of
from bmacdb.factors.run import compute
from bmacdb.kit.range import Range, cells_statement, fundings_statement, there_statement
from bmacdb.kit.rows import Places, opens_of

if TYPE_CHECKING:
    from bmacdb.kit.source import Source

__all__ = ["Gridded", "gridded"]

_READ_AT_ONCE = 300_000
"""Bars times symbols of one question; two of them are held, at some 200 bytes for each."""


@dataclass(frozen=True, slots=True)
class Gridded:
    """`frame`: symbol, open_ms, the candle columns, a column per factor, by symbol and time. NaN is null.

    `held`: the most candles that a symbol has in the range and the longest look-back before it.
    """

    frame: pd.DataFrame
    held: int


def gridded(source: Source, bounds: Sequence[Bound], span: Range, *, read_at_once: int = _READ_AT_ONCE) -> Gridded:
    """The factors for each candle of the range. The size of the pieces changes no value."""
    lookback = max((bound.lookback for bound in bounds), default=1)
    # Of the market at an earlier bar, a symbol that is gone by now is a part.
    back = max((bound.lookback for bound in bounds if bound.across), default=1)
    candles = source.ask(there_statement(span, back))
    symbols = tuple(candles.column("symbol").to_pylist())
    opens = opens_of(span, 1)
    bars = min(max(read_at_once // max(len(symbols), 1), lookback), len(opens))
    names = [*CANDLE_COLUMNS, *(bound.call.column for bound in bounds)]
    # As if no candle were missing: a row per column, in it the bars of symbol after symbol.
    table = np.empty((len(names), len(symbols), len(opens)))
    shown = np.zeros((len(symbols), len(opens)), dtype=bool)
    held = np.zeros(len(symbols), dtype=np.int64)
    tables = {name: _table(source, name, span) for bound in bounds if bound.query for name in tables_of(bound.query)}
    reading = _Reading(source, symbols, bounds, candles if "close" in candles.column_names else None)
    pieces = [
        Range(span.schema, span.interval, int(part[0]), int(part[-1]))
        for part in (opens[low : low + bars] for low in range(0, len(opens), bars))
    ]
    grid: Grid | None = None
    with ThreadPoolExecutor(1) as ahead:  # the next piece comes while one is computed
        coming = ahead.submit(reading.ask, pieces[0], lookback) if symbols else None
        for number, piece in enumerate(pieces if symbols else ()):
            answers = coming.result() if coming else []
            coming = ahead.submit(reading.ask, pieces[number + 1], 1) if number + 1 < len(pieces) else None
            grid = reading.grid(piece, lookback, answers, grid)
            part = table[:, :, number * bars : (number + 1) * bars]
            for row, name in enumerate(CANDLE_COLUMNS):
                _turn(grid.columns[name][lookback - 1 :], part[row])
            shown[:, number * bars : (number + 1) * bars] = grid.there[lookback - 1 :].T
            held += grid.there[lookback - 1 if number else 0 :].sum(axis=0)
            if bounds:
                compute(bounds, grid, lookback - 1, tables, [values.T for values in part[len(CANDLE_COLUMNS) :]])
    return Gridded(_frame(symbols, opens, names, table, shown), int(held.max(initial=0)))


def _turn(column: Array, into: Array) -> None:
    """(bars, symbols) into (symbols, bars), some symbols at a time, which stay near the processor."""
    for low in range(0, column.shape[1], 32):
        into[low : low + 32] = column[:, low : low + 32].T


def _frame(
    symbols: Sequence[str], opens: Places, names: list[str], table: Array, shown: npt.NDArray[np.bool_]
) -> pd.DataFrame:
    """`table`, (columns, symbols, bars), as a frame over its memory, without what is not `shown`. It is changed."""
    rows = table.reshape(len(names), -1)
    if not shown.all():
        there = shown.ravel()
        count = np.count_nonzero(there)
        for row in rows:
            row[:count] = row[there]
        rows = rows[:, :count]
    numbers, places = np.nonzero(shown)
    texts = pa.DictionaryArray.from_arrays(numbers.astype(np.int32), pa.array(symbols, pa.string()))
    frame = pd.DataFrame(rows.T, columns=names, copy=False)
    frame.insert(0, "open_ms", opens[places])
    frame.insert(0, "symbol", texts.dictionary_decode().to_pandas())
    return frame


def _table(source: Source, name: str, span: Range) -> pa.Table:
    """A table of the feed for whole queries; of fundings, those before the range ends."""
    until = f" WHERE funding_time < {span.until()}" if name == "funding_rates" else ""
    return source.ask(f"SELECT * FROM {span.table(name)}{until}")


@dataclass(frozen=True, slots=True)
class _Reading:
    """`last`: the candles of the only bar of the range, where they are known."""

    source: Source
    symbols: tuple[str, ...]
    bounds: Sequence[Bound]
    last: pa.Table | None

    @property
    def needed(self) -> set[str]:
        return {"close"}.union(*(bound.columns for bound in self.bounds))

    def ask(self, span: Range, lookback: int) -> list[pa.Table]:
        """The bars of a range and of the look-back up to its first: cell, columns."""
        needed = self.needed
        wanted = [name for name in CANDLE_COLUMNS if self.last is None or name in needed]
        answers = [self.source.ask(cells_statement(span, self.symbols, lookback, wanted))]
        if needed.intersection(FUNDING_COLUMNS):
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
