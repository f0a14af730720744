"""Candles as frames: all columns of all symbols in one block, of which each frame is a view."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from bmacdb.factors.columns import CANDLE_COLUMNS
from bmacdb.kit.range import Range
from bmacdb.kit.threads import in_threads

__all__ = ["Places", "Rows", "SymbolRows", "joined", "numbered", "opens_of", "ordered"]

Places = npt.NDArray[np.int64]

_NAMES = pd.StringDtype("python", na_value=np.nan) if int(pd.__version__.split(".")[0]) >= 3 else object
"""Of the columns. Names backed by Arrow, pandas' own choice, make every assignment of a column twice as slow."""


@dataclass(frozen=True, slots=True)
class SymbolRows:
    """One symbol: `frame` as modules are given it, `places` on the grid."""

    symbol: str
    frame: pd.DataFrame
    places: Places


@dataclass(frozen=True, slots=True)
class Rows:
    """Candles by symbol and time. `bounds[i]` is where the rows of `symbols[i]` end in `places` and `block`.

    `block` is a row per column of `names`, float64. It travels to workers as it is.
    """

    symbols: tuple[str, ...]
    bounds: tuple[int, ...]
    places: Places
    block: npt.NDArray[np.float64]
    names: tuple[str, ...] = CANDLE_COLUMNS

    def span(self, number: int) -> slice:
        """The rows of a symbol."""
        return slice(self.bounds[number - 1] if number else 0, self.bounds[number])

    def window(self, end: int, length: int) -> Rows:
        """The rows of one symbol that end with row `end`, which is a part of it."""
        rows = slice(end - length + 1, end + 1)
        symbol = self.symbols[int(np.searchsorted(self.bounds, end, side="right"))]
        return Rows((symbol,), (length,), self.places[rows], self.block[:, rows], self.names)

    def of(self, numbers: Sequence[int]) -> Rows:
        """Some of the symbols, by their number and in its order."""
        spans = [self.span(number) for number in numbers]
        bounds = tuple(np.cumsum([span.stop - span.start for span in spans]).tolist())
        symbols = tuple(self.symbols[number] for number in numbers)
        if not spans:
            return Rows((), (), self.places[:0], self.block[:, :0], self.names)
        if spans[-1].stop - spans[0].start == bounds[-1]:  # they lie side by side
            rows: slice | Places = slice(spans[0].start, spans[-1].stop)
        else:
            rows = np.concatenate([np.arange(span.start, span.stop) for span in spans])
        return Rows(symbols, bounds, self.places[rows], self.block[:, rows], self.names)

    def frame(self, opens: Places) -> pd.DataFrame:
        """All rows, as modules are given them: candle_begin_time, symbol and the columns, with a RangeIndex."""
        frame = pd.DataFrame(self.block.T, copy=False)
        counts = np.diff(self.bounds, prepend=0)
        frame.columns = list(self.names)
        frame.insert(0, "candle_begin_time", _times(opens[self.places]))
        frame.insert(1, "symbol", _texts(self.symbols, counts))
        frame.columns = pd.Index(["candle_begin_time", "symbol", *self.names], dtype=_NAMES)
        return frame

    def frames(self, opens: Places) -> Iterator[SymbolRows]:
        """A frame per symbol. `opens`: the open time of each place."""
        frame = self.frame(opens)
        for number, symbol in enumerate(self.symbols):
            span = self.span(number)
            yield SymbolRows(symbol, numbered(frame.iloc[span]), self.places[span])

    def candles(self, opens: Places, end_ms: int) -> pd.DataFrame:
        """All rows, as the predecessor's files hold them: index candle_end_time. `end_ms`: when the last bar closes."""
        ends = np.append(opens[1:], end_ms)
        return self.frame(opens).drop(columns="symbol").set_axis(_times(ends[self.places]).rename("candle_end_time"))


def numbered(frame: pd.DataFrame) -> pd.DataFrame:
    """A slice of a frame, with rows numbered from 0, as in a file of its own."""
    frame.index = pd.RangeIndex(len(frame))
    return frame


def joined(parts: Sequence[Rows]) -> Rows:
    """The rows of several symbols, those of `parts`, which are of the same columns, one after the other."""
    if len(parts) == 1:
        return parts[0]
    return Rows(
        tuple(symbol for part in parts for symbol in part.symbols),
        tuple(np.cumsum([len(part.places) for part in parts]).tolist()),
        np.concatenate([part.places for part in parts]),
        np.concatenate([part.block for part in parts], axis=1),
        parts[0].names,
    )


def opens_of(span: Range, lookback: int) -> Places:
    """The open time of each place on the grid; 0 of those before 1970."""
    start, end, total = span.grid(lookback)
    opens = np.fromiter(span.interval.opens(start, end), dtype=np.int64)
    return np.concatenate([np.zeros(total - len(opens), dtype=np.int64), opens])


def ordered(table: pa.Table, wanted: set[str]) -> Rows:
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
    columns = [table.column(name).to_numpy() for name in CANDLE_COLUMNS]

    def some(numbers: range) -> None:
        for number in numbers:
            np.take(columns[number], order, out=block[number], mode="clip")  # the way that needs no buffer

    in_threads(some, len(columns))
    symbols = tuple(names[at] for at, there in zip(inorder, sought, strict=True) if there)
    return Rows(symbols, tuple(np.cumsum(counts).tolist()), places[order], block)


def _texts(texts: Sequence[str], counts: Places) -> object:
    """Each text so many times, as pandas keeps text."""
    if _NAMES is object:
        return np.repeat(np.array(texts, dtype=object), counts)
    codes = pa.array(np.repeat(np.arange(len(texts), dtype=np.int32), counts))
    repeated = pa.DictionaryArray.from_arrays(codes, pa.array(texts, pa.large_string())).cast(pa.large_string())
    return pd.StringDtype("pyarrow", na_value=np.nan).__from_arrow__(repeated)


def _times(ms: Places) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(pd.to_datetime(ms, unit="ms", utc=True)).as_unit("ns")
