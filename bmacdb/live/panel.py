"""The newest bars of a feed as arrays: (bars, symbols) for each column, kept current by the rows that come.

    rows ──apply──► block (columns, 2 × window, symbols)
                      bars in use:   ░░░████████░░░      slide to the right as bars come, without a copy;
                                              ███████    at the right end they are copied back to the left.

No sockets and no database: who feeds it decides what comes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bmacdb.errors import UsageError
from bmacdb.factors.columns import CANDLE_COLUMNS, FUNDING_COLUMNS
from bmacdb.factors.grid import Grid
from bmacdb.interval import Interval
from bmacdb.live.fundings import Fundings

__all__ = ["Allocate", "Array", "Panel"]

Array = npt.NDArray[Any]
Allocate = Callable[[tuple[int, ...], npt.DTypeLike], Array]
"""(shape, dtype) -> an array with any values in it: memory of this process, or shared memory."""


class Panel:
    """The last `window` bars of all symbols of a feed.

    `symbols`: in order, all that have a candle in the window, and some that have none there any more.
    `opens`: the open times of the bars in milliseconds, ascending, (window,); 0 of those before 1970.
    `columns`: by name, (window, symbols) float64, NaN is null, as where the candle is missing. The candle columns, and
    with `fundings` those of the fundings that were settled within the bar (they count 120 s after their stamp).
    `there`: whether there is a candle, (window, symbols).

    These arrays are views, good until the next change: take them anew after each, or copy them. `moves` counts how
    often the panel went to new memory, which is `block` (columns, 2 × window, symbols) and `present` (2 × window,
    symbols), of which the bars from `first` on are in use.
    """

    def __init__(
        self,
        feed: str,
        interval: Interval,
        window: int,
        newest_ms: int,
        *,
        fundings: bool = False,
        allocate: Allocate = np.empty,
    ) -> None:
        """An empty panel whose newest bar opened at `newest_ms`. Raises UsageError."""
        if window < 1:
            raise UsageError(f"window {window} holds no bar: 1 or more.")
        if not interval.on_grid(newest_ms):
            raise UsageError(f"{newest_ms} is no open time of interval {interval.name}.")
        self.feed = feed
        self.interval = interval
        self.window = window
        self.names = (*CANDLE_COLUMNS, *(FUNDING_COLUMNS if fundings else ()))
        self.symbols: tuple[str, ...] = ()
        self.first = 0
        self.moves = 0
        self._allocate = allocate
        self._fundings = Fundings() if fundings else None
        self._places: dict[str, int] = {}
        start, end = interval.shift(newest_ms, 1 - window), interval.next(newest_ms)
        opens = np.fromiter(interval.opens(start, end), np.int64)
        self._opens = np.zeros(2 * window, np.int64)
        self._opens[window - len(opens) : window] = opens
        self.block = allocate((len(self.names), 2 * window, 0), np.float64)
        self.present = allocate((2 * window, 0), np.bool_)
        self._look()

    def __repr__(self) -> str:
        return f"<Panel {self.feed} {self.window} bars up to {self.newest_ms}, {len(self.symbols)} symbols>"

    def __getitem__(self, column: str) -> Array:
        """A column, (window, symbols)."""
        if column not in self.columns:
            raise UsageError(f"column {column!r} is none of this feed's: {', '.join(self.names)}.")
        return self.columns[column]

    @property
    def newest_ms(self) -> int:
        """The open time of the newest bar."""
        return int(self.opens[-1])

    @property
    def end_ms(self) -> int:
        """When the newest bar closes: the newest run time."""
        return self.interval.next(self.newest_ms)

    def place(self, symbol: str) -> int:
        """The number of a symbol's column. Raises UsageError."""
        if symbol not in self._places:
            raise UsageError(f"symbol {symbol!r} has no candle in the last {self.window} bars of {self.feed}.")
        return self._places[symbol]

    def holds(self, symbol: str, end_ms: int) -> bool:
        """Whether there is a candle of the symbol that closed at `end_ms`."""
        bar = self.window - 1 - self.interval.count(end_ms, self.end_ms)
        return (
            end_ms <= self.end_ms
            and bar >= 0
            and symbol in self._places
            and bool(self.there[bar, self._places[symbol]])
        )

    def apply(self, table: pa.Table) -> tuple[str, ...]:
        """Take rows of the table `candles`: symbol, open_time and the candle columns; others are not looked at.

        A row replaces what was known of its candle. Later bars move the window on; those older than the window are left
        out. Returns the symbols that are new to the panel.
        """
        if not table.num_rows:
            return ()
        opens = table.column("open_time").cast(pa.int64()).to_numpy() // 1000
        self.advance(self.interval.floor(int(opens.max())))
        bars = np.searchsorted(self.opens, opens)
        inside = (opens >= max(int(self.opens[0]), 1)) & (self.opens[np.minimum(bars, self.window - 1)] == opens)
        if not inside.all():
            table, bars = table.filter(pa.array(inside)), bars[inside]
        symbols = table.column("symbol").combine_chunks().dictionary_encode()
        found = symbols.dictionary.to_pylist()
        new = tuple(sorted(symbol for symbol in found if symbol not in self._places))
        if new:
            self._list(new, keep=found)
        places = np.fromiter((self._places[symbol] for symbol in found), np.intp, len(found))
        cells = bars, places[symbols.indices.to_numpy(zero_copy_only=False)]
        for name in CANDLE_COLUMNS:
            self.columns[name][cells] = table.column(name).to_numpy()
        self.there[cells] = True
        return new

    def unlike(self, table: pa.Table) -> npt.NDArray[np.bool_]:
        """Which rows of the table `candles` `apply` would change something by: new candles and other values."""
        opens = table.column("open_time").cast(pa.int64()).to_numpy() // 1000
        unlike: npt.NDArray[np.bool_] = np.asarray(opens >= self.opens[0])
        symbols = table.column("symbol").combine_chunks().dictionary_encode()
        places = np.array([self._places.get(symbol, -1) for symbol in symbols.dictionary.to_pylist()], np.intp)
        columns = places[symbols.indices.to_numpy(zero_copy_only=False)]
        bars = np.searchsorted(self.opens, opens)
        known = np.flatnonzero(unlike & (columns >= 0) & (opens <= self.newest_ms))
        cells = bars[known], columns[known]
        same = self.there[cells]
        for name in CANDLE_COLUMNS:
            same &= self.columns[name][cells] == table.column(name).to_numpy()[known]
        unlike[known] = ~same
        return unlike

    def apply_fundings(self, table: pa.Table) -> tuple[int, tuple[str, ...]]:
        """Take rows of the table `funding_rates`; of one that has come before, the first stands.

        Returns from which instant on the last new one counts, and the symbols of the new ones.
        """
        if self._fundings is None:
            return 0, ()
        counts, symbols = self._fundings.add(table)
        inside = counts[(counts >= self.opens[0]) & (counts < self.end_ms)]
        if len(inside):
            low, high = np.searchsorted(self.opens, (inside.min(), inside.max()), side="right")
            self._settle(int(low) - 1, int(high))
        return int(counts.max(initial=0)), symbols

    def advance(self, newest_ms: int) -> None:
        """Move the window on to the bar that opened at `newest_ms`, where that is later than the newest."""
        if newest_ms <= self.newest_ms:
            return
        added = min(self.interval.count(self.newest_ms, newest_ms), self.window)
        opens = np.fromiter(
            self.interval.opens(self.interval.shift(newest_ms, 1 - added), self.interval.next(newest_ms)), np.int64
        )
        if self.first + added + self.window > 2 * self.window:
            kept = slice(self.first + added, self.first + self.window)
            self._opens[: self.window - added] = self._opens[kept]
            self.block[:, : self.window - added] = self.block[:, kept]
            self.present[: self.window - added] = self.present[kept]
            self.first = 0
            if self._fundings is not None:
                self._fundings.forget(int(self._opens[0]))
        else:
            self.first += added
        fresh = slice(self.first + self.window - added, self.first + self.window)
        self._opens[fresh] = opens
        self.block[:, fresh] = np.nan
        self.present[fresh] = False
        self._look()
        self._settle(self.window - added, self.window)

    def clear(self) -> None:
        """Forget all candles, for a database that is read anew; bars, symbols and fundings, which last, stay."""
        self.block[: len(CANDLE_COLUMNS)] = np.nan
        self.present[:] = False

    def grid(self, bars: int | None = None, end_ms: int | None = None) -> Grid:
        """Views of the last `bars` bars (all) up to the one that closes at `end_ms` (the newest), as a factor's grid.

        Raises UsageError when the window does not hold them.
        """
        last = self.window
        if end_ms is not None:
            last = self.window - self.interval.count(end_ms, self.end_ms)
            if end_ms > self.end_ms or not self.interval.on_grid(end_ms):
                raise UsageError(f"run time {end_ms} is not there: the newest of {self.feed} is {self.end_ms}.")
        start = last - bars if bars is not None else 0
        if not 0 <= start < last:
            raise UsageError(f"{bars} bars up to {end_ms or self.end_ms} are not in the window of {self.window}.")
        columns = {name: column[start:last] for name, column in self.columns.items()}
        return Grid(self.symbols, self.opens[start:last], columns, self.there[start:last])

    def _look(self) -> None:
        """Make the views of the bars in use."""
        used = slice(self.first, self.first + self.window)
        self.opens: npt.NDArray[np.int64] = self._opens[used]
        self.there: npt.NDArray[np.bool_] = self.present[used]
        self.columns: Mapping[str, Array] = dict(zip(self.names, self.block[:, used], strict=True))

    def _list(self, new: Sequence[str], *, keep: Collection[str]) -> None:
        """Columns for new symbols, in new memory. Symbols that have no candle any more lose theirs, but for `keep`."""
        lasting = np.flatnonzero(self.there.any(axis=0)).tolist()
        old_places = sorted({*lasting, *(self._places[symbol] for symbol in keep if symbol in self._places)})
        old = [self.symbols[place] for place in old_places]
        symbols = tuple(sorted((*old, *new)))
        self._places = {symbol: place for place, symbol in enumerate(symbols)}
        kept = [self._places[symbol] for symbol in old]
        block = self._allocate((len(self.names), 2 * self.window, len(symbols)), np.float64)
        present = self._allocate((2 * self.window, len(symbols)), np.bool_)
        block[:, : self.window] = np.nan
        present[: self.window] = False
        for column, name in zip(block, self.names, strict=True):
            column[: self.window, kept] = self.columns[name][:, old_places]
        present[: self.window, kept] = self.there[:, old_places]
        self._opens[: self.window] = self.opens.copy()
        self.block, self.present, self.symbols, self.first = block, present, symbols, 0
        self.moves += 1
        self._look()
        self._settle(0, self.window, new)

    def _settle(self, low: int, high: int, only: Sequence[str] | None = None) -> None:
        """Write the fundings of the bars in the places [low, high)."""
        if self._fundings is not None and low < high and self.symbols:
            columns = {name: self.columns[name][low:high] for name in FUNDING_COLUMNS}
            bars = self.opens[low:high], self.interval.next(int(self.opens[high - 1]))
            self._fundings.write(columns, bars, self.symbols, only)
