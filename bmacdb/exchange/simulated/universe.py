"""The whole truth of the stand-in exchange: which bars exist, and what is in them.

Pure: the same options give the same bars in any process, so a database can be checked row by row
against a universe built beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bmacdb.errors import UsageError
from bmacdb.exchange.simulated.encode import rows_json
from bmacdb.exchange.simulated.generate import Bar, Ints, Numbers, Style, compute, forming, style_of
from bmacdb.exchange.simulated.listing import Instrument, Life, list_market
from bmacdb.interval import DAY_MS, INTERVALS, Interval
from bmacdb.model import Market

__all__ = ["Page", "Universe", "grid"]

_THREE_DAY_ANCHOR_MS = 2 * DAY_MS  # not a multiple of three days since the epoch: the recorder has to learn it
_GRIDS = {name: Interval.parse(name).anchored(_THREE_DAY_ANCHOR_MS) for name in INTERVALS}


def grid(name: str, market: Market) -> Interval | None:
    """The interval called `name` as this exchange lays it out; None where `market` has none of that name."""
    return None if name == "1s" and market is not Market.SPOT else _GRIDS.get(name)


@dataclass(frozen=True, slots=True)
class Page:
    """Bars of one symbol with their numbers, in order."""

    style: Style
    numbers: Numbers

    def bars(self) -> list[Bar]:
        return self.numbers.bars(self.style)


def _join(left: Numbers, right: Numbers) -> Numbers:
    return Numbers(*(np.concatenate(columns) for columns in zip(left, right, strict=True)))


class Universe:
    """Symbols and bars of the stand-in exchange. `symbols` is the number of trading symbols of a market's main trade type."""

    def __init__(
        self,
        *,
        start_ms: int,
        symbols: int | Mapping[Market, int] = 20,
        markets: Iterable[Market] = tuple(Market),
        seed: int = 0,
        recent: int = 1,
    ) -> None:
        self.start_ms, self.seed, self.version = start_ms, seed, 0
        self._instruments: dict[Market, dict[str, Instrument]] = {market: {} for market in Market}
        for market in markets:
            count = symbols if isinstance(symbols, int) else symbols.get(market, 0)
            for instrument in list_market(market, count, start_ms=start_ms, recent=recent if count > 2 else 0):
                self._instruments[market][instrument.symbol] = instrument

    def instruments(self, market: Market) -> list[Instrument]:
        """Every symbol of a market, those to come and those gone included."""
        return list(self._instruments[market].values())

    def find(self, symbol: str, *, futures: bool) -> Instrument | None:
        """The symbol on spot, or on either futures market: each of those answers for the other's symbols too."""
        for market in (Market.USDT_FUTURES, Market.COIN_FUTURES) if futures else (Market.SPOT,):
            if (instrument := self._instruments[market].get(symbol)) is not None:
                return instrument
        return None

    def put(self, instrument: Instrument) -> None:
        """List a symbol, or change what is known of it."""
        self._instruments[instrument.market][instrument.symbol] = instrument
        self.version += 1

    def get(self, market: Market, symbol: str) -> Instrument:
        """The symbol. Raises UsageError where there is none."""
        try:
            return self._instruments[market][symbol]
        except KeyError:
            raise UsageError(f"the stand-in exchange lists no {symbol!r} on {market}.") from None

    def style(self, instrument: Instrument, life: Life) -> Style:
        """How a life of a symbol trades."""
        return style_of(instrument.market, instrument.symbol, self.seed, instrument.lives.index(life))

    def opens(
        self, instrument: Instrument, interval: Interval, first_ms: int, last_ms: int, *, limit: int | None = None, newest: bool = False
    ) -> list[tuple[Life, Ints]]:
        """The open times in [first, last], by life and oldest first; the oldest or `newest` `limit` of them.

        A bar exists if the symbol was listed, and not halted throughout, between its open and its close.
        """
        found: list[tuple[Life, Ints]] = []
        left = limit
        for life in reversed(instrument.lives) if newest else instrument.lives:
            if left == 0:
                break
            opens = self._life_opens(instrument, life, interval, first_ms, last_ms, left, newest)
            if len(opens):
                found.append((life, opens))
                left = None if left is None else left - len(opens)
        return found[::-1] if newest else found

    @staticmethod
    def _life_opens(
        instrument: Instrument, life: Life, interval: Interval, first_ms: int, last_ms: int, limit: int | None, newest: bool
    ) -> Ints:
        lowest = max(interval.floor(life.onboard_ms), interval.floor(max(first_ms - 1, 0) + 1))
        if lowest < first_ms:
            lowest = interval.next(lowest)
        highest = interval.floor(last_ms if life.end_ms is None else min(last_ms, life.end_ms - 1))
        if highest < lowest:
            return np.empty(0, np.int64)
        if limit is not None:  # never lay out years of minutes for a page
            halted = sum(end - start for start, end in instrument.halts) // interval.length_ms
            span = limit - 1 + halted
            if newest:
                lowest = max(lowest, interval.shift(highest, -span))
            else:
                highest = min(highest, interval.shift(lowest, span))
        if interval.name == "1M":
            opens = np.array(list(interval.opens(lowest, highest + 1)), np.int64)
        else:
            opens = np.arange(lowest, highest + 1, interval.length_ms, dtype=np.int64)
        for start, end in instrument.halts:
            opens = opens[~((opens >= start) & (opens + interval.length_ms <= end))]
        if limit is not None and len(opens) > limit:
            opens = opens[-limit:] if newest else opens[:limit]
        return opens

    def pages(self, instrument: Instrument, interval: Interval, found: Sequence[tuple[Life, Ints]]) -> list[Page]:
        """The bars that opened at the times that `opens` found."""
        pages = []
        for life, opens in found:
            style = self.style(instrument, life)
            pages.append(Page(style, compute([style], interval, opens, self._next(interval, opens))))
        return pages

    @staticmethod
    def _next(interval: Interval, opens: Ints) -> Ints:
        if interval.name == "1M":
            return np.array([interval.next(open_ms) for open_ms in opens.tolist()], np.int64)
        return opens + interval.length_ms

    def body(self, instrument: Instrument, pages: Sequence[Page], *, now_ms: int) -> str:
        """A `klines` body; a bar that is open at `now_ms` as it looks then."""
        rows = []
        for page in pages:
            numbers = page.numbers
            if len(numbers.next_ms) and int(numbers.next_ms[-1]) > now_ms:
                closed = int(np.searchsorted(numbers.next_ms, now_ms, side="right"))
                last = Numbers(*(column[closed:] for column in numbers))
                numbers = _join(Numbers(*(column[:closed] for column in numbers)), forming(last, now_ms))
            rows.append(rows_json(instrument.market, page.style, numbers))
        return f"[{''.join(rows)[:-1]}]"

    def expected(self, market: Market, symbol: str, interval: str, start_ms: int, end_ms: int) -> list[Bar]:
        """Every bar of `symbol` that opened in [start, end), oldest first. Raises UsageError for an unknown name."""
        layout = grid(interval, market)
        if layout is None:
            raise UsageError(f"the stand-in exchange has no interval {interval!r} on {market}.")
        instrument = self.get(market, symbol)
        found = self.opens(instrument, layout, start_ms, end_ms - 1)
        return [bar for page in self.pages(instrument, layout, found) for bar in page.bars()]

    def trading(self, market: Market, now_ms: int) -> list[Instrument]:
        """What trades at `now_ms`."""
        return [one for one in self._instruments[market].values() if one.status(now_ms) == "TRADING"]

    def closing(self, instrument: Instrument, interval: Interval, open_ms: int) -> Life | None:
        """The life whose bar opened at `open_ms`; None where there is no such bar."""
        found = self.opens(instrument, interval, open_ms, open_ms)
        return found[-1][0] if found else None

    def delist(self, market: Market, symbol: str, at_ms: int) -> None:
        """End the present life of a symbol."""
        instrument = self.get(market, symbol)
        self.put(replace(instrument, lives=(*instrument.lives[:-1], replace(instrument.lives[-1], end_ms=at_ms))))
