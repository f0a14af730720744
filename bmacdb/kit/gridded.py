"""Factors in SQL over a range: candles are read into grids, some symbols at a time, and computed there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from bmacdb.factor.evaluate import on_grid
from bmacdb.factor.grid import Grid
from bmacdb.factor.statement import Cells, Range, cells_statement, fundings_statement, symbols_statement
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
    symbols = source.ask(symbols_statement(span)).column("symbol").to_pylist()
    opens = opens_of(span, lookback)[lookback - 1 :]
    several = max(read_at_once // total, 1)
    names: list[pa.Array] = []
    times: list[npt.NDArray[np.int64]] = []
    tables: list[Array] = []
    held = 0
    for first in range(0, len(symbols), several):
        part = tuple(symbols[first : first + several])
        blocks = min(-(-len(part) * total // computed_at_once), len(part))
        cells = Cells(part, total, -(-len(part) // blocks))
        for number, (grid, there) in enumerate(_grids(source, bounds, span, cells, lookback)):
            held = max(held, int((~np.isnan(grid.columns["close"])).sum(axis=0).max()))
            there = there[lookback - 1 :].T
            candles = [grid.columns[name][lookback - 1 :] for name in CANDLE_COLUMNS]
            values = [*candles, *(on_grid(bound, grid, lookback - 1) for bound in bounds)]
            tables.append(np.stack([value.T.ravel() if there.all() else value.T[there] for value in values]))
            times.append(np.broadcast_to(opens, there.shape)[there])
            low = number * cells.width
            codes = np.repeat(np.arange(low, low + cells.width, dtype=np.int32), there.sum(axis=1))
            names.append(pa.DictionaryArray.from_arrays(codes, list(part)).dictionary_decode())
    table = np.concatenate(tables, axis=1) if tables else np.empty((len(CANDLE_COLUMNS) + len(bounds), 0))
    frame = pd.DataFrame(table.T, columns=[*CANDLE_COLUMNS, *(bound.call.column for bound in bounds)], copy=False)
    frame.insert(0, "open_ms", np.concatenate(times) if times else np.empty(0, dtype=np.int64))
    frame.insert(0, "symbol", pa.chunked_array(names, pa.string()).to_pandas())
    return Gridded(frame, held)


def _grids(
    source: Source, bounds: Sequence[Bound], span: Range, cells: Cells, lookback: int
) -> Iterator[tuple[Grid, npt.NDArray[np.bool_]]]:
    """Grids of `cells.width` symbols each, and where they have a candle."""
    shape = cells.blocks, cells.total, cells.width
    table = source.ask(cells_statement(span, cells, lookback))
    places = table.column("cell").to_numpy()
    there = np.zeros(shape, dtype=bool)
    there.ravel()[places] = True
    columns = {name: _spread(table, name, places, shape) for name in CANDLE_COLUMNS}
    if any(word in bound.read for bound in bounds for word in FUNDING_COLUMNS):
        table = source.ask(fundings_statement(span, cells, lookback))
        places = table.column("cell").to_numpy()
        columns |= {name: _spread(table, name, places, shape) for name in FUNDING_COLUMNS}
    for number in range(cells.blocks):
        yield Grid({name: column[number] for name, column in columns.items()}), there[number]


def _spread(table: pa.Table, name: str, places: npt.NDArray[np.int64], shape: tuple[int, int, int]) -> Array:
    column = np.full(shape, np.nan)
    column.ravel()[places] = table.column(name).to_numpy()
    return column
