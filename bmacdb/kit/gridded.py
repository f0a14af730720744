"""Factors in SQL: candles are read into grids, some bars of all symbols at a time, and computed there."""

from __future__ import annotations

from collections.abc import Sequence
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

_READ_AT_ONCE = 500_000
"""Bars times symbols of one question, which takes some 200 bytes of memory for each."""


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
    before: Grid | None = None
    for low in range(0, len(opens) if symbols else 0, bars):
        piece = Range(span.schema, span.interval, int(opens[low]), int(opens[low : low + bars][-1]))
        last = candles if "close" in candles.column_names else None
        grid = _read(source, piece, symbols, 1 if low else lookback, bounds, last)
        held += grid.there.sum(axis=0)
        if before is not None:
            grid = _after(before, grid, lookback - 1)
        part = table[:, :, low : low + bars]
        for row, name in enumerate(CANDLE_COLUMNS):
            part[row] = grid.columns[name][lookback - 1 :].T
        shown[:, low : low + bars] = grid.there[lookback - 1 :].T
        for row, values in enumerate(
            compute(bounds, grid, lookback - 1, tables) if bounds else (), len(CANDLE_COLUMNS)
        ):
            part[row] = values.T
        before = grid
    return Gridded(_frame(symbols, opens, names, table, shown), int(held.max(initial=0)))


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


def _after(before: Grid, grid: Grid, bars: int) -> Grid:
    """`grid` behind the last `bars` of the one before."""
    keep = slice(len(before.opens) - bars, None)
    return Grid(
        grid.symbols,
        np.concatenate([before.opens[keep], grid.opens]),
        {name: np.concatenate([before.columns[name][keep], column]) for name, column in grid.columns.items()},
        np.concatenate([before.there[keep], grid.there]),
    )


def _read(
    source: Source, span: Range, symbols: tuple[str, ...], lookback: int, bounds: Sequence[Bound], last: pa.Table | None
) -> Grid:
    """The bars of the range and the look-back up to its first. `last`: the candles of its only bar, where known."""
    opens = opens_of(span, lookback)
    shape = len(opens), len(symbols)
    needed = {"close"}.union(*(bound.columns for bound in bounds))
    wanted = [name for name in CANDLE_COLUMNS if last is None or name in needed]
    answers = [source.ask(cells_statement(span, symbols, lookback, wanted))]
    if last is not None:
        cells = np.arange(shape[0] * shape[1] - shape[1], shape[0] * shape[1])
        answers.append(last.append_column("cell", pa.array(cells)))
    there = np.zeros(shape, dtype=bool)
    columns = {name: np.full(shape, np.nan) for name in CANDLE_COLUMNS}
    if needed.intersection(FUNDING_COLUMNS):
        columns |= {name: np.full(shape, np.nan) for name in FUNDING_COLUMNS}
        answers.append(source.ask(fundings_statement(span, symbols, lookback)))
    for answer in answers:
        places = answer.column("cell").to_numpy()
        if "funding_rate" not in answer.column_names:
            there.ravel()[places] = True
        for name in columns.keys() & set(answer.column_names):
            columns[name].ravel()[places] = answer.column(name).to_numpy()
    return Grid(symbols, opens, columns, there)
