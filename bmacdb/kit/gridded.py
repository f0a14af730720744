"""Factors in SQL: candles are read into grids, some bars of all symbols at a time, and computed there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from bmacdb.factor.evaluate import on_grid
from bmacdb.factor.grid import Grid
from bmacdb.factor.lists import on_lists
from bmacdb.factor.statement import Cells, Range, cells_statement, fundings_statement, there_statement
from bmacdb.factor.template import CANDLE_COLUMNS, FUNDING_COLUMNS, OPEN_TIME, Bound
from bmacdb.kit.rows import Places, opens_of

if TYPE_CHECKING:
    from bmacdb.kit.source import Source

__all__ = ["Gridded", "gridded"]

Array = npt.NDArray[np.float64]

_READ_AT_ONCE = 500_000
"""Bars times symbols of one question, which takes some 200 bytes of memory for each."""

_COMPUTED_AT_ONCE = 1 << 15
"""Bars times symbols of one grid: its columns and what is made of them stay near the processor."""


@dataclass(frozen=True, slots=True)
class Gridded:
    """`frame`: symbol, open_ms, the candle columns, a column per factor, by symbol and time. NaN is null.

    `held`: the most candles that a symbol has in the range and the longest look-back before it.
    """

    frame: pd.DataFrame
    held: int


def gridded(
    source: Source,
    bounds: Sequence[Bound],
    span: Range,
    *,
    read_at_once: int = _READ_AT_ONCE,
    computed_at_once: int = _COMPUTED_AT_ONCE,
) -> Gridded:
    """The factors for each candle of the range. The sizes of the pieces change no value."""
    candles = source.ask(there_statement(span))
    symbols = tuple(candles.column("symbol").to_pylist())
    opens = opens_of(span, 1)
    lookback = max((bound.lookback for bound in bounds), default=1)
    bars = min(max(read_at_once // max(len(symbols), 1), lookback), len(opens))
    reading = _Reading(source, span, symbols, max(computed_at_once // (bars + lookback), 1), bounds, candles)
    names = [*CANDLE_COLUMNS, *(bound.call.column for bound in bounds)]
    # As if no candle were missing: a row per column, in it the bars of symbol after symbol.
    table = np.empty((len(names), len(symbols), len(opens)))
    shown = np.zeros((len(symbols), len(opens)), dtype=bool)
    held = np.zeros(len(symbols), dtype=np.int64)
    before: dict[str, Array] = {}
    for low in range(0, len(opens) if symbols else 0, bars):
        piece = reading.piece(opens[low : low + bars], 1 if low else lookback)
        columns = piece.after(before)
        before = {name: column[:, column.shape[1] - lookback + 1 :] for name, column in columns.items()}
        held += _by_symbol(~np.isnan(piece.columns["close"]), symbols).sum(axis=1)
        shown[:, low : low + bars] = _by_symbol(piece.there, symbols)[:, -bars:]
        _compute(bounds, columns, lookback - 1, table[:, :, low : low + bars])
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


def _by_symbol(column: npt.NDArray[Any], symbols: Sequence[str]) -> npt.NDArray[Any]:
    """From (blocks, bars, symbols of a block) to (symbols, bars)."""
    return column.transpose(0, 2, 1).reshape(-1, column.shape[1])[: len(symbols)]


def _compute(bounds: Sequence[Bound], columns: Mapping[str, Array], first: int, table: Array) -> None:
    """The candle columns and the factors from the bar `first` on into `table`: (columns, symbols, bars)."""
    blocks, _, width = columns["close"].shape
    for number in range(blocks):
        grid = Grid({name: column[number] for name, column in columns.items()})
        part = table[:, number * width : (number + 1) * width]
        for row, name in enumerate(CANDLE_COLUMNS):
            part[row] = grid.columns[name][first:, : part.shape[1]].T
        for row, bound in enumerate(bounds, len(CANDLE_COLUMNS)):
            values = on_lists(bound, grid, first) if bound.listed else on_grid(bound, grid, first)
            part[row] = values[:, : part.shape[1]].T


@dataclass(frozen=True, slots=True)
class _Piece:
    """Some bars of all symbols: columns, and whether there is a candle; each (blocks, bars, symbols of a block)."""

    columns: dict[str, Array]
    there: npt.NDArray[np.bool_]

    def after(self, before: Mapping[str, Array]) -> dict[str, Array]:
        """The columns, behind those of the bars before."""
        return {
            name: np.concatenate([before[name], column], axis=1) if before else column
            for name, column in self.columns.items()
        }


@dataclass(frozen=True, slots=True)
class _Reading:
    """What is asked for. `width` symbols make a block; `candles` is the answer to `there_statement`."""

    source: Source
    span: Range
    symbols: tuple[str, ...]
    width: int
    bounds: Sequence[Bound]
    candles: pa.Table

    def piece(self, opens: Places, lookback: int) -> _Piece:
        """The bars that open at `opens`, and those of the look-back up to the first."""
        span = Range(self.span.schema, self.span.interval, int(opens[0]), int(opens[-1]))
        cells = Cells(self.symbols, len(opens) + lookback - 1, min(self.width, len(self.symbols)))
        shape = cells.blocks, cells.total, cells.width
        needed = {"close"}.union(*(bound.columns for bound in self.bounds))
        wanted = [name for name in CANDLE_COLUMNS if self.span.several or name in needed]
        tables = [self.source.ask(cells_statement(span, cells, lookback, wanted))]
        if not self.span.several:
            tables.append(self.candles.append_column("cell", pa.array(cells.last())))
        there = np.zeros(shape, dtype=bool)
        columns = {name: np.full(shape, np.nan) for name in CANDLE_COLUMNS}
        for table in tables:
            places = table.column("cell").to_numpy()
            there.ravel()[places] = True
            for name in set(CANDLE_COLUMNS).intersection(table.column_names):
                columns[name].ravel()[places] = table.column(name).to_numpy()
        if OPEN_TIME in needed:
            columns[OPEN_TIME] = np.where(there, opens_of(span, lookback)[:, None].astype(np.float64), np.nan)
        if needed.intersection(FUNDING_COLUMNS):
            table = self.source.ask(fundings_statement(span, cells, lookback))
            places = table.column("cell").to_numpy()
            for name in FUNDING_COLUMNS:
                columns[name] = np.full(shape, np.nan)
                columns[name].ravel()[places] = table.column(name).to_numpy()
        return _Piece(columns, there)
