"""Candles as frames, one per symbol: all columns of all symbols in one block, of which each frame is a view."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from bmacdb.factors.columns import CANDLE_COLUMNS
from bmacdb.kit.range import Range, rows_statement

if TYPE_CHECKING:
    from bmacdb.kit.source import Source

__all__ = ["Places", "Rows", "SymbolRows", "opens_of", "read_rows"]

Places = npt.NDArray[np.int64]

_READ_FIRST = 300_000
_READ_AT_ONCE = 700_000
"""Rows of the first question, so that workers have something to do soon, and of the others: each costs a scan."""

_NAMES = pd.StringDtype("python", na_value=np.nan) if int(pd.__version__.split(".")[0]) >= 3 else object
"""Of the columns. Names backed by Arrow, pandas' own choice, make every assignment of a column twice as slow."""


@dataclass(frozen=True, slots=True)
class SymbolRows:
    """One symbol: `frame` (index candle_end_time, candle_begin_time, the candle columns), `places` on the grid."""

    symbol: str
    frame: pd.DataFrame
    places: Places


@dataclass(frozen=True, slots=True)
class Rows:
    """Candles by symbol and time. `bounds[i]` is where the rows of `symbols[i]` end in `places` and `block`.

    `block` is a row per candle column, float64. It travels to workers as it is.
    """

    symbols: tuple[str, ...]
    bounds: tuple[int, ...]
    places: Places
    block: npt.NDArray[np.float64]

    def cut(self, most_symbols: int) -> Iterator[Rows]:
        """Pieces of at most so many symbols."""
        for first in range(0, len(self.symbols), most_symbols):
            bounds = self.bounds[first : first + most_symbols]
            low, high = self.bounds[first - 1] if first else 0, bounds[-1]
            yield Rows(
                self.symbols[first : first + most_symbols],
                tuple(bound - low for bound in bounds),
                self.places[low:high],
                self.block[:, low:high],
            )

    def frames(self, opens: Places, end_ms: int) -> Iterator[SymbolRows]:
        """A frame per symbol. `opens`: the open time of each place; `end_ms`: when the last bar closes."""
        frame = pd.DataFrame(self.block.T, copy=False)
        frame.columns = list(CANDLE_COLUMNS)
        frame.insert(0, "candle_begin_time", _times(opens[self.places]))
        frame.columns = pd.Index(["candle_begin_time", *CANDLE_COLUMNS], dtype=_NAMES)
        ends = np.append(opens[1:], end_ms)
        frame.index = _times(ends[self.places]).rename("candle_end_time")
        low = 0
        for symbol, high in zip(self.symbols, self.bounds, strict=True):
            yield SymbolRows(symbol, frame.iloc[low:high], self.places[low:high])
            low = high


def opens_of(span: Range, lookback: int) -> Places:
    """The open time of each place on the grid; 0 of those before 1970."""
    start, end, total = span.grid(lookback)
    opens = np.fromiter(span.interval.opens(start, end), dtype=np.int64)
    return np.concatenate([np.zeros(total - len(opens), dtype=np.int64), opens])


def read_rows(source: Source, span: Range, lookback: int, symbols: Sequence[str]) -> Iterator[Rows]:
    """The rows of `symbols` (in order, those of the span), with `lookback` bars up to the first, some at a time."""
    _, _, total = span.grid(lookback)
    first, several = 0, max(_READ_FIRST // total, 1)
    while first < len(symbols):
        part = symbols[first : first + several]
        first, several = first + several, max(_READ_AT_ONCE // total, 1)
        table = source.ask(rows_statement(span, lookback=lookback, between=(part[0], part[-1])))
        if table.num_rows:
            yield _ordered(table, set(part))


def _ordered(table: pa.Table, wanted: set[str]) -> Rows:
    """By symbol and time: sorted here, as the recorder has little memory to sort in, and rows come in order of time."""
    encoded = pc.dictionary_encode(table.column("symbol").combine_chunks())
    names = encoded.dictionary.to_pylist()
    inorder = sorted(range(len(names)), key=names.__getitem__)
    rank = np.empty(len(names), dtype=np.int64)
    rank[inorder] = np.arange(len(names))
    codes = rank[encoded.indices.to_numpy()]
    places = table.column("k").to_numpy().astype(np.int64)
    if (places[1:] >= places[:-1]).all():
        # Sixteen bits are sorted by counting.
        order = np.argsort(codes.astype(np.uint16) if len(names) < 1 << 16 else codes, kind="stable")
    else:
        order = np.lexsort((places, codes))
    counts = np.bincount(codes, minlength=len(names))
    sought = [names[at] in wanted for at in inorder]
    if not all(sought):
        order = order[np.repeat(sought, counts)]
        counts = counts[sought]
    block = np.empty((len(CANDLE_COLUMNS), len(order)))
    for number, name in enumerate(CANDLE_COLUMNS):
        np.take(table.column(name).to_numpy(), order, out=block[number])
    symbols = tuple(names[at] for at, there in zip(inorder, sought, strict=True) if there)
    return Rows(symbols, tuple(np.cumsum(counts).tolist()), places[order], block)


def _times(ms: Places) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(pd.to_datetime(ms, unit="ms", utc=True)).as_unit("ns")
