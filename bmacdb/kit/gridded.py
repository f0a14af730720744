"""Factors in SQL over a range: candles are read into grids, some symbols at a time, and computed there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from bmacdb.factor.evaluate import on_grid
from bmacdb.factor.grid import Grid
from bmacdb.factor.statement import Cells, Range, cells_statement, fundings_statement, there_statement
from bmacdb.factor.template import CANDLE_COLUMNS, FUNDING_COLUMNS, Bound
from bmacdb.kit.rows import opens_of

if TYPE_CHECKING:
    from bmacdb.kit.source import Source

__all__ = ["Gridded", "gridded"]

Array = npt.NDArray[np.float64]

_READ_AT_ONCE = 1_000_000
"""Bars times symbols of one question, which bounds the memory: some 200 bytes each."""

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
    lookback = max((bound.lookback for bound in bounds), default=1)
    _, _, total = span.grid(lookback)
    there = source.ask(there_statement(span))
    symbols = there.column("symbol").to_pylist()
    several = max(read_at_once // total, 1)
    pieces = []
    for first in range(0, len(symbols), several):
        part = tuple(symbols[first : first + several])
        blocks = min(-(-len(part) * total // computed_at_once), len(part))
        cells = Cells(part, total, -(-len(part) // blocks))
        pieces.append(_piece(source, bounds, span, cells, lookback, there.slice(first, several)))
    table = np.empty((len(CANDLE_COLUMNS) + len(bounds), 0))
    if pieces:
        table = pieces[0].table if len(pieces) == 1 else np.concatenate([piece.table for piece in pieces], axis=1)
    frame = pd.DataFrame(table.T, columns=[*CANDLE_COLUMNS, *(bound.call.column for bound in bounds)], copy=False)
    opens = opens_of(span, lookback)[lookback - 1 :]
    frame.insert(0, "open_ms", opens[np.concatenate([piece.bars for piece in pieces])] if pieces else opens[:0])
    frame.insert(0, "symbol", pa.chunked_array([piece.symbols for piece in pieces], pa.string()).to_pandas())
    return Gridded(frame, max((piece.held for piece in pieces), default=0))


@dataclass(frozen=True, slots=True)
class _Piece:
    """Some symbols: for each of their candles the symbol, the number of its bar in the range, and a row of `table`."""

    symbols: pa.Array
    bars: npt.NDArray[np.intp]
    table: Array
    held: int


def _piece(
    source: Source, bounds: Sequence[Bound], span: Range, cells: Cells, lookback: int, newest: pa.Table
) -> _Piece:
    columns, there = _read(source, bounds, span, cells, lookback, newest)
    # Block by block, of these symbol by symbol, the bars in order.
    shown = there[:, lookback - 1 :].transpose(0, 2, 1)
    table = np.empty((len(CANDLE_COLUMNS) + len(bounds), np.count_nonzero(shown)))
    high = held = 0
    for number in range(cells.blocks):
        grid = Grid({name: column[number] for name, column in columns.items()})
        held = max(held, int(np.count_nonzero(~np.isnan(grid.columns["close"]), axis=0).max()))
        low, high = high, high + int(np.count_nonzero(shown[number]))
        for row, name in enumerate(CANDLE_COLUMNS):
            table[row, low:high] = grid.columns[name][lookback - 1 :].T[shown[number]]
        for row, bound in enumerate(bounds, len(CANDLE_COLUMNS)):
            table[row, low:high] = on_grid(bound, grid, lookback - 1).T[shown[number]]
    symbols, bars = np.nonzero(shown.reshape(-1, shown.shape[2]))
    names = pa.DictionaryArray.from_arrays(symbols.astype(np.int32), list(cells.symbols)).dictionary_decode()
    return _Piece(names, bars, table, held)


def _read(
    source: Source, bounds: Sequence[Bound], span: Range, cells: Cells, lookback: int, newest: pa.Table
) -> tuple[dict[str, Array], npt.NDArray[np.bool_]]:
    """The columns, each (blocks, bars, symbols of a block), and where there is a candle."""
    shape = cells.blocks, cells.total, cells.width
    needed = {"close"}.union(*(bound.columns for bound in bounds))
    wanted = [name for name in CANDLE_COLUMNS if span.several or name in needed]
    tables = [source.ask(cells_statement(span, cells, lookback, wanted))]
    if not span.several:
        tables.append(newest.append_column("cell", pa.array(cells.last())))
    there = np.zeros(shape, dtype=bool)
    columns = {name: np.full(shape, np.nan) for name in CANDLE_COLUMNS}
    for table in tables:
        places = table.column("cell").to_numpy()
        there.ravel()[places] = True
        for name in set(CANDLE_COLUMNS).intersection(table.column_names):
            columns[name].ravel()[places] = table.column(name).to_numpy()
    if needed.intersection(FUNDING_COLUMNS):
        table = source.ask(fundings_statement(span, cells, lookback))
        places = table.column("cell").to_numpy()
        for name in FUNDING_COLUMNS:
            columns[name] = np.full(shape, np.nan)
            columns[name].ravel()[places] = table.column(name).to_numpy()
    return columns, there
