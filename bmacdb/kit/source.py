"""What factors are computed from: the bars of a feed, in a database or in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

import pyarrow as pa

from bmacdb.factors.grid import Grid
from bmacdb.interval import Interval
from bmacdb.kit.range import Range
from bmacdb.kit.rows import Rows
from bmacdb.kit.workers import Workers

__all__ = ["CandleSource"]


class CandleSource(Protocol):
    """A feed. The same candles give the same answers, to the last bit, wherever they lie."""

    @property
    def schema(self) -> str:
        """The name of the feed."""

    @property
    def interval(self) -> Interval:
        """That of its candles."""

    @property
    def num_candles(self) -> int:
        """How many bars a Python factor gets that does not say how far it looks back."""

    @property
    def workers(self) -> Workers:
        """Where Python factors are computed."""

    def latest_run_time_ms(self) -> int:
        """The newest run time that is there. Raises UsageError when there is no candle at all."""

    def grids(self, span: Range, lookback: int, back: int, columns: Collection[str]) -> Iterator[Grid]:
        """The range in pieces, in order, each with `lookback` bars up to its first; nothing when it has no candle.

        All are of the same symbols: at least those with a candle in the range or, for factors across the market, in the
        `back` bars up to its first. The candle columns are there at the bars of the range, `columns` in the look-back
        too.
        """

    def rows(self, span: Range, lookback: int, symbols: Sequence[str], *, funding: bool = False) -> Iterator[Rows]:
        """The candles of `symbols` (in order, those of the span), with `lookback` bars up to the first, in parts.

        `funding` adds the column fundingRate: the newest rate settled in the bar, 0 where none was, as the community's
        data has it; null where the feed records none at all.
        """

    def table(self, name: str, span: Range) -> pa.Table:
        """A table of the feed for whole queries; of fundings, those before the range ends."""

    def trading(self, open_ms: int) -> list[str]:
        """The symbols that traded at `open_ms` by the exchange info of that time, in order."""
