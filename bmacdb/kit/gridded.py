"""Factors in SQL: candles are read into grids, some bars of all symbols at a time, and computed there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from bmacdb.factors.bind import Bound
from bmacdb.factors.columns import CANDLE_COLUMNS
from bmacdb.factors.grid import Array
from bmacdb.factors.query import tables_of
from bmacdb.factors.run import compute
from bmacdb.kit.range import Range
from bmacdb.kit.rows import Places, opens_of
from bmacdb.kit.source import CandleSource

__all__ = ["Gridded", "gridded"]


@dataclass(frozen=True, slots=True)
class Gridded:
    """`frame`: symbol, open_ms, the candle columns, a column per factor, by symbol and time. NaN is null.

    `held`: the most candles that a symbol has in the range and the longest look-back before it.
    """

    frame: pd.DataFrame
    held: int


def gridded(source: CandleSource, bounds: Sequence[Bound], span: Range) -> Gridded:
    """The factors for each candle of the range."""
    lookback = max((bound.lookback for bound in bounds), default=1)
    back = max((bound.lookback for bound in bounds if bound.across), default=1)
    needed = {"close"}.union(*(bound.columns for bound in bounds))
    tables = {name: source.table(name, span) for bound in bounds if bound.query for name in tables_of(bound.query)}
    opens = opens_of(span, 1)
    names = [*CANDLE_COLUMNS, *(bound.call.column for bound in bounds)]
    symbols: tuple[str, ...] = ()
    low = 0
    for grid in source.grids(span, lookback, back, needed):
        if not low:
            symbols = grid.symbols
            # As if no candle were missing: a row per column, in it the bars of symbol after symbol.
            table = np.empty((len(names), len(symbols), len(opens)))
            shown = np.zeros((len(symbols), len(opens)), dtype=bool)
            held = np.zeros(len(symbols), dtype=np.int64)
        high = low + len(grid.opens) - lookback + 1
        part = table[:, :, low:high]
        for row, name in enumerate(CANDLE_COLUMNS):
            _turn(grid.columns[name][lookback - 1 :], part[row])
        shown[:, low:high] = grid.there[lookback - 1 :].T
        held += grid.there[lookback - 1 if low else 0 :].sum(axis=0)
        if bounds:
            compute(bounds, grid, lookback - 1, tables, [values.T for values in part[len(CANDLE_COLUMNS) :]])
        low = high
    if not low:
        nothing = np.empty((len(names), 0, len(opens)))
        return Gridded(_frame((), opens, names, nothing, nothing[0].astype(bool)), 0)
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
