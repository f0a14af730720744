"""Candles for factors out of a panel in memory: views of the bars that are looked back at."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from bmacdb.clock import format_ms
from bmacdb.errors import UsageError
from bmacdb.factors.columns import CANDLE_COLUMNS
from bmacdb.factors.grid import Array, Grid
from bmacdb.interval import Interval
from bmacdb.kit.range import Range
from bmacdb.kit.rows import Rows
from bmacdb.kit.source import CandleSource
from bmacdb.kit.workers import Workers
from bmacdb.live.panel import Panel

__all__ = ["PanelSource"]

_CELLS_AT_ONCE = 300_000
"""Bars times symbols that are laid out symbol by symbol at a time: 22 MB."""


@dataclass(frozen=True, slots=True)
class PanelSource:
    """A panel as it stands; whoever changes it waits until a calculation has ended.

    `behind`: the same feed in its database, for what is older than the window and for what a panel has not.
    """

    panel: Panel
    behind: CandleSource | None = None
    workers: Workers = field(default_factory=lambda: Workers(1))

    @property
    def schema(self) -> str:
        """The name of the feed."""
        return self.panel.feed

    @property
    def interval(self) -> Interval:
        """That of its candles."""
        return self.panel.interval

    @property
    def num_candles(self) -> int:
        """That of the feed, or the window."""
        return self.behind.num_candles if self.behind is not None else self.panel.window

    def latest_run_time_ms(self) -> int:
        """The end of the newest bar. Raises UsageError when there is no candle."""
        if not self.panel.there.any():
            raise UsageError(f"the panel of {self.schema} holds no candle yet.")
        return self.panel.end_ms

    def holds(self, span: Range, lookback: int) -> bool:
        """Whether all bars of a range and its look-back are in the window, as far as they are not before 1970."""
        start, end, total = span.grid(lookback)
        return start >= self.panel.opens[0] and end <= self.panel.end_ms and total <= self.panel.window

    def grids(self, span: Range, lookback: int, back: int, columns: Collection[str]) -> Iterator[Grid]:
        """See CandleSource. One piece, without a copy where the symbols are side by side."""
        if not self.holds(span, lookback):
            yield from self._older(span, lookback).grids(span, lookback, back, columns)
            return
        _, end, total = span.grid(lookback)
        grid = self.panel.grid(total, end)
        chosen = grid.there[lookback - back :].any(axis=0)
        if span.symbols is not None:
            chosen &= np.isin(grid.symbols, span.symbols)
        places = np.flatnonzero(chosen)
        if not len(places):
            return
        whole = places[-1] - places[0] + 1 == len(places)
        some = slice(places[0], places[-1] + 1) if whole else places
        symbols = tuple(grid.symbols[place] for place in places)
        wanted = {*CANDLE_COLUMNS, *columns}
        views = {name: column[:, some] for name, column in grid.columns.items() if name in wanted}
        yield Grid(symbols, grid.opens, views, grid.there[:, some])

    def rows(self, span: Range, lookback: int, symbols: Sequence[str], *, funding: bool = False) -> Iterator[Rows]:
        """See CandleSource."""
        if not self.holds(span, lookback):
            yield from self._older(span, lookback).rows(span, lookback, symbols, funding=funding)
            return
        _, end, total = span.grid(lookback)
        grid = self.panel.grid(total, end)
        there = set(grid.symbols)
        known = [symbol for symbol in symbols if symbol in there]
        several = max(_CELLS_AT_ONCE // total, 1)
        for first in range(0, len(known), several):
            part = known[first : first + several]
            places = np.array([self.panel.place(symbol) for symbol in part])
            numbers, bars = np.nonzero(grid.there.T[places])
            counts = np.bincount(numbers, minlength=len(part))
            full = len(numbers) == len(part) * total
            names = (*CANDLE_COLUMNS, *(["fundingRate"] if funding else []))
            block = np.empty((len(names), len(numbers)))
            for row, name in zip(block, CANDLE_COLUMNS, strict=False):
                table = grid.columns[name].T[places]
                row[:] = table.ravel() if full else table[numbers, bars]
            if funding:
                block[-1] = self._rates(grid)[bars, places[numbers]]
            held = tuple(part[number] for number in np.flatnonzero(counts))
            bounds = tuple(np.cumsum(counts[counts > 0]).tolist())
            if held:
                yield Rows(held, bounds, bars.astype(np.int64), block, names)

    def table(self, name: str, span: Range) -> pa.Table:
        """See CandleSource; read from the database."""
        if self.behind is None:
            raise UsageError(f"a panel holds no table {name}: give the database too, as a market of bmacdb.subscribe.")
        return self.behind.table(name, span)

    def trading(self, open_ms: int) -> list[str]:
        """See CandleSource; without a database, the symbols that have a candle in the window."""
        if self.behind is not None:
            return self.behind.trading(open_ms)
        return [self.panel.symbols[place] for place in np.flatnonzero(self.panel.there.any(axis=0))]

    def _rates(self, grid: Grid) -> Array:
        rates = self.panel.columns.get("funding_rate")
        if rates is None or np.isnan(rates).all():
            return np.full(grid.there.shape, np.nan)
        found = grid.columns["funding_rate"]
        return np.where(np.isnan(found), 0.0, found)

    def _older(self, span: Range, lookback: int) -> CandleSource:
        if self.behind is None:
            start, end, _ = span.grid(lookback)
            raise UsageError(
                f"the window of {self.panel.window} bars of {self.schema} begins at "
                f"{format_ms(int(self.panel.opens[0]))} and ends at {format_ms(self.panel.end_ms)}; bars from "
                f"{format_ms(start)} to {format_ms(end)} are asked for: take a longer window."
            )
        return self.behind
