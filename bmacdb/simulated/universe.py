"""The whole truth of the stand-in exchange: which bars exist, and what is in them.

Pure: the same options give the same bars in any process, so a database can be checked row by row
against a universe built beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bmacdb.errors import UsageError
from bmacdb.interval import DAY_MS, INTERVALS, Interval
from bmacdb.model import Market
from bmacdb.simulated.encode import rows_json
from bmacdb.simulated.faults import ChangingBar, Delisting, Halt, Listing, Relisting
from bmacdb.simulated.generate import Bar, Ints, Numbers, Style, compute, forming, style_of
from bmacdb.simulated.listing import Instrument, Life, list_market, new_instrument
from bmacdb.simulated.replay import Replay, load_replays

__all__ = ["Page", "Universe", "grid"]

_THREE_DAY_ANCHOR_MS = 2 * DAY_MS  # not a multiple of three days since the epoch: the recorder has to learn it
_REPLAYED_FOR_MS = 400 * DAY_MS  # before the start a replayed symbol was listed
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
    """Symbols and bars of the stand-in exchange, with `symbols` trading ones of each market's main trade type."""

    def __init__(
        self,
        *,
        start_ms: int,
        symbols: int | Mapping[Market, int] = 20,
        markets: Iterable[Market] = tuple(Market),
        seed: int = 0,
        recent: int = 1,
        replay: Iterable[Path] = (),
    ) -> None:
        self.start_ms, self.seed, self.version = start_ms, seed, 0
        self._instruments: dict[Market, dict[str, Instrument]] = {market: {} for market in Market}
        self._replays: dict[tuple[Market, str], dict[str, Replay]] = {}
        self._pairs: tuple[int, dict[str, list[Instrument]]] = (-1, {})
        markets = tuple(markets)
        for market in markets:
            count = symbols if isinstance(symbols, int) else symbols.get(market, 0)
            for instrument in list_market(market, count, start_ms=start_ms, recent=recent if count > 2 else 0):
                self._instruments[market][instrument.symbol] = instrument

        if paths := tuple(replay):
            for one in load_replays(paths, start_ms=start_ms, markets=markets, anchored=_GRIDS):
                self._replays.setdefault((one.market, one.symbol), {})[one.interval.name] = one
                if one.symbol not in self._instruments[one.market]:
                    self.put(new_instrument(one.market, one.symbol, onboard_ms=start_ms - _REPLAYED_FOR_MS))

    def _replay(self, instrument: Instrument, interval: Interval) -> Replay | None:
        """The real candles of a symbol, if it has any: then it has no others, at no interval."""
        found = self._replays.get((instrument.market, instrument.symbol))
        return None if found is None else found.get(interval.name)

    def instruments(self, market: Market) -> list[Instrument]:
        """Every symbol of a market, those to come and those gone included."""
        return list(self._instruments[market].values())

    def find(self, symbol: str, *, futures: bool) -> Instrument | None:
        """The symbol on spot, or on either futures market: each of those answers for the other's symbols too."""
        for market in (Market.USDT_FUTURES, Market.COIN_FUTURES) if futures else (Market.SPOT,):
            if (instrument := self._instruments[market].get(symbol)) is not None:
                return instrument
        return None

    def contract(self, pair: str, contract_type: str, now_ms: int) -> Instrument | None:
        """The futures of a pair that are of a contract type now: of quarters that is another one every three months."""
        version, by_pair = self._pairs
        if version != self.version:
            by_pair = {}
            for market in (Market.USDT_FUTURES, Market.COIN_FUTURES):
                for one in self._instruments[market].values():
                    by_pair.setdefault(one.pair, []).append(one)
            self._pairs = self.version, by_pair
        for one in by_pair.get(pair, ()):
            if one.status(now_ms) == "TRADING" and one.contract_type_at(now_ms) == contract_type:
                return one
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
        for replay in self._replays.get((instrument.market, instrument.symbol), {}).values():
            return replay.style
        return style_of(instrument.market, instrument.symbol, self.seed, instrument.lives.index(life))

    def opens(
        self,
        instrument: Instrument,
        interval: Interval,
        first_ms: int,
        last_ms: int,
        *,
        limit: int | None = None,
        newest: bool = False,
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

    def _life_opens(
        self,
        instrument: Instrument,
        life: Life,
        interval: Interval,
        first_ms: int,
        last_ms: int,
        limit: int | None,
        newest: bool,
    ) -> Ints:
        lowest = max(interval.floor(life.onboard_ms), interval.floor(max(first_ms - 1, 0) + 1))
        if lowest < first_ms:
            lowest = interval.next(lowest)
        highest = interval.floor(last_ms if life.end_ms is None else min(last_ms, life.end_ms - 1))
        for later in instrument.lives[instrument.lives.index(life) + 1 :]:  # a bar that saw both is the later one's
            highest = min(highest, interval.shift(interval.floor(later.onboard_ms), -1))
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
        if (instrument.market, instrument.symbol) in self._replays:
            replay = self._replay(instrument, interval)
            opens = opens[:0] if replay is None else replay.existing(opens)
        for start, end in instrument.halts:
            opens = opens[~((opens >= start) & (opens + interval.length_ms <= end))]
        if limit is not None and len(opens) > limit:
            opens = opens[-limit:] if newest else opens[:limit]
        return opens

    def pages(self, instrument: Instrument, interval: Interval, found: Sequence[tuple[Life, Ints]]) -> list[Page]:
        """The bars that opened at the times that `opens` found."""
        pages = []
        for life, opens in found:
            style, replay = self.style(instrument, life), self._replay(instrument, interval)
            if replay is not None:
                pages.append(Page(style, replay.numbers(opens)))
            else:
                pages.append(Page(style, compute([style], interval, opens, self._next(interval, opens))))
        return pages

    @staticmethod
    def _next(interval: Interval, opens: Ints) -> Ints:
        if interval.name == "1M":
            return np.array([interval.next(open_ms) for open_ms in opens.tolist()], np.int64)
        return opens + interval.length_ms

    @staticmethod
    def as_of(pages: Sequence[Page], now_ms: int, changing: ChangingBar | None = None) -> list[Page]:
        """The same, with a bar that is open at `now_ms` as it looks then, and those that are `changing` still."""
        settled_ms = now_ms - round(1000 * changing.seconds) if changing else now_ms
        seen = []
        for page in pages:
            numbers = page.numbers
            if len(numbers.next_ms) and int(numbers.next_ms[-1]) > settled_ms:
                settled = int(np.searchsorted(numbers.next_ms, settled_ms, side="right"))
                last = Numbers(*(column[settled:] for column in numbers))
                lacking = np.zeros_like(last.next_ms)  # milliseconds of trades that a closed bar does not show yet
                if changing is not None:
                    to_come = (last.next_ms - settled_ms) / (1000 * changing.seconds)
                    lacking = np.ceil(to_come * changing.share * (last.next_ms - last.opens_ms)).astype(np.int64)
                seen_ms = np.where(last.next_ms > now_ms, now_ms, last.next_ms - lacking)
                numbers = _join(Numbers(*(column[:settled] for column in numbers)), forming(last, seen_ms))
            seen.append(Page(page.style, numbers))
        return seen

    def body(
        self, instrument: Instrument, pages: Sequence[Page], *, now_ms: int, changing: ChangingBar | None = None
    ) -> str:
        """A `klines` body as it looks at `now_ms` (see `as_of`)."""
        rows = [rows_json(instrument.market, page.style, page.numbers) for page in self.as_of(pages, now_ms, changing)]
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

    def at_once(self, several: Sequence[tuple[Instrument, Style]], interval: Interval, open_ms: int) -> Numbers:
        """The bars of several symbols that opened at `open_ms`, in their order."""
        opens = np.full(len(several), open_ms, np.int64)
        numbers = compute([style for _, style in several], interval, opens, self._next(interval, opens))
        for place, (instrument, _) in enumerate(several if self._replays else ()):
            if (replay := self._replay(instrument, interval)) is not None:
                for column, (value,) in zip(numbers, replay.numbers(opens[:1]), strict=True):
                    column[place] = value
        return numbers

    def happen(self, event: Listing | Delisting | Relisting | Halt, *, now_ms: int) -> None:
        """Let a symbol come, go, come again or pause, now or later. Raises UsageError where that cannot be."""
        at_ms = now_ms if event.at_ms is None else event.at_ms
        market, symbol = event.market, event.symbol
        if isinstance(event, Listing):
            if symbol in self._instruments[market]:
                raise UsageError(f"{symbol} is listed on {market} already: list it again with Relisting.")
            self.put(new_instrument(market, symbol, onboard_ms=at_ms))
            return
        instrument = self.get(market, symbol)
        last = instrument.lives[-1]
        match event:
            case Delisting():
                self.put(replace(instrument, lives=(*instrument.lives[:-1], replace(last, end_ms=at_ms))))
            case Relisting():
                if last.end_ms is None or last.end_ms > at_ms:
                    raise UsageError(f"{symbol} trades on {market}: delist it before it is listed again.")
                forgets = market is not Market.SPOT
                self.put(replace(instrument, lives=(*instrument.lives, Life(at_ms)), forgets=forgets))
            case Halt(seconds=seconds):
                self.put(replace(instrument, halts=(*instrument.halts, (at_ms, at_ms + round(seconds * 1000)))))
