"""What the Dispatcher decides for one feed: pure state, fed with messages and the exchange's time.

`FeedState.take(message, now_ms, into)` adds to a `Decision`: rows that belong into one transaction, and what is
to be done once it is committed. Nothing here knows sockets, files or clocks.

What becomes of a run is in `runs`, what of a hole in `gaps`; here is what messages mean to both, and what is known of
the symbols.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import chain

from bmacdb.model import (
    EXGINFO_ITEM,
    FUNDING_ITEM,
    Candle,
    Feed,
    Gap,
    GapState,
    Ready,
    Run,
    Source,
    SymbolInfo,
)
from bmacdb.recorder.decision import Decision
from bmacdb.recorder.events import ExchangeInfoUpdated, Notice, Severity, SymbolsChanged
from bmacdb.recorder.gaps import GapBook
from bmacdb.recorder.messages import (
    Boundary,
    CandleClosed,
    ExchangeInfoFetched,
    Fetch,
    FetchFailed,
    FundingFetched,
    Message,
    PageFetched,
    Purpose,
    RowsOffered,
    Tick,
)
from bmacdb.recorder.runs import RunBook

__all__ = ["DOUBT_MS", "FeedState"]

DOUBT_MS = 30_000
"""How long a symbol must be seen not to trade before it is expected no more."""

_EARLY_MS = 5_000  # a closed bar may come this much before our belief of the exchange's clock says that it closed
_CONFIRM_AFTER_MS = 5_000  # beyond the age at which REST is believed
_ENDED = frozenset({"PRE_DELIVERING", "DELIVERING", "DELIVERED", "PRE_SETTLE", "SETTLING", "CLOSE"})
"""What futures say of a contract that will not trade again."""
_RECENT_BARS = 3  # a symbol that was recorded so recently may only pause while the recorder starts
_WAITED_MS = 1_000  # a bar that waited longer to be written, as on a full disk, was not ready when it was heard


class FeedState:
    """One feed's runs, expected symbols and open gaps."""

    def __init__(self, feed: Feed, *, close_timeout_ms: int, settle_ms: int, page_rows: int) -> None:
        self.feed = feed
        self.expected: set[str] = set()
        self.known: set[str] = set()
        self.latest: dict[str, int] = {}
        self.unknown_frames = 0
        self.halted = False
        """Whether the exchange trades nothing of this feed."""
        self._page_rows, self._settle_ms = page_rows, settle_ms
        self._last: dict[str, Candle] = {}
        self._doubted: dict[str, int] = {}  # expected symbols that were not found trading, and since when
        self._exginfo: tuple[SymbolInfo, ...] = ()
        self._gaps = GapBook(feed.interval, page_rows=page_rows, settle_ms=settle_ms)
        self._provisional = GapBook(feed.interval, page_rows=page_rows, settle_ms=settle_ms)
        """Bars that REST gave too soon after their close. The file knows them by their source, so no gap is written."""
        self.runs = RunBook(feed, self._gaps, close_timeout_ms=close_timeout_ms, settle_ms=settle_ms)
        self._fetching: set[tuple[str, int, int]] = set()

    # Where it starts from

    def resume(
        self,
        *,
        expected: Iterable[str],
        latest: Mapping[str, int],
        unfinished: Iterable[tuple[Run, frozenset[str]]],
        gaps: Iterable[Gap],
        provisional: Iterable[tuple[str, int]] = (),
        now_ms: int,
    ) -> None:
        """Take up what an earlier recorder left in the file: the symbols it expected, latest open times, runs that
        never got complete (with the items that were ready), open gaps, (symbol, open time) of provisional bars."""
        self.expected.update(expected)
        self.latest.update(latest)
        self.known.update(latest, self.expected)
        self.runs.resume(unfinished, self.expected)
        self._gaps.resume(gaps, now_ms)
        for symbol, open_ms in provisional:
            self._doubt(symbol, (open_ms,), now_ms)

    def go_live(self, run_time_ms: int) -> None:
        """Every run from `run_time_ms` on is watched over; earlier bars are history's business."""
        self.runs.go_live(run_time_ms)

    @property
    def live_from_ms(self) -> int | None:
        """The first run that is watched over; None before `go_live`."""
        return self.runs.live_from_ms

    def open_gaps(self) -> int:
        """How many holes are neither filled nor proven absent."""
        return len(self._gaps)

    def provisional_bars(self) -> int:
        """How many stretches of bars are to be confirmed, because REST gave them too soon after their close."""
        return len(self._provisional)

    def in_doubt(self) -> int:
        """How many expected symbols were not found trading: the listings are to be looked at again soon."""
        return len(self._doubted)

    def delayed(self, into: Decision, now_ms: int) -> None:
        """What is in `into` could be written only now, for there was no room: nobody could read it before."""
        self.runs.delayed(into, now_ms)

    def not_fetched(self, fetch: Fetch) -> None:
        """A fetch that was decided could not be queued; it will be decided anew when it is due again."""
        self._fetching.discard((fetch.symbol, fetch.start_ms, fetch.end_ms))

    # What happens

    def take(self, message: Message, now_ms: int, into: Decision) -> None:
        """Add to `into` what `message` leads to."""
        match message:
            case CandleClosed(candle=candle, received_ms=received_ms):
                self._arrived(candle, _taken_ms(received_ms, now_ms), into)
            case Boundary(run_time_ms=run_time_ms):
                self.runs.boundary(run_time_ms, self.expected, now_ms, into)
            case Tick():
                self._tick(now_ms, into)
            case PageFetched():
                self._page(message, now_ms, into)
            case FetchFailed():
                self._failed(message, now_ms, into)
            case ExchangeInfoFetched():
                self._exchange_info(message, now_ms, into)
            case RowsOffered():
                self._offered(message, now_ms, into)
            case FundingFetched(run_time_ms=run_time_ms, snapshots=snapshots, rates=rates):
                into.funding_snapshots += snapshots
                into.funding_rates += rates
                if snapshots:
                    into.ready.append(Ready(run_time_ms, FUNDING_ITEM, now_ms, Source.REST))

    # Candles

    def _arrived(self, candle: Candle, at_ms: int, into: Decision) -> None:
        symbol, open_ms = candle.symbol, candle.open_time_ms
        interval = self.feed.interval
        run_time_ms = interval.next(open_ms)
        if symbol not in self.known or not interval.on_grid(open_ms) or run_time_ms > at_ms + _EARLY_MS:
            self.unknown_frames += 1
            return
        if self._last.get(symbol) == candle:
            return  # the same bar again, as two overlapping sockets bring it
        into.candles.append(candle)
        if open_ms >= self.latest.get(symbol, -1):
            self.latest[symbol] = open_ms
            self._last[symbol] = candle
        self.runs.ready(run_time_ms, candle, self.expected, at_ms, into)
        if symbol in self._gaps:
            self._settle(symbol, {open_ms}, (0, 0), at_ms, into)
        if symbol in self._provisional:
            self._confirm(symbol, {open_ms}, (0, 0), at_ms)

    def _tick(self, now_ms: int, into: Decision) -> None:
        late: dict[str, set[int]] = {}
        for symbol, open_ms in self.runs.late(now_ms, into):
            late.setdefault(symbol, set()).add(open_ms)
        for symbol, opens in sorted(late.items()):
            for start_ms, end_ms in self._ranges(opens):
                self._fetch(symbol, start_ms, end_ms, Purpose.LATE, into)
        for symbol, start_ms, end_ms in chain(self._gaps.due(now_ms), self._provisional.due(now_ms)):
            self._fetch(symbol, start_ms, end_ms, Purpose.REPAIR, into)

    def _ranges(self, opens: Collection[int]) -> list[tuple[int, int]]:
        """Open times as unbroken ranges [start, end) of a page at most."""
        ranges: list[tuple[int, int]] = []
        for open_ms in sorted(opens):
            end_ms = self.feed.interval.next(open_ms)
            if (
                ranges
                and ranges[-1][1] == open_ms
                and self.feed.interval.count(ranges[-1][0], end_ms) <= self._page_rows
            ):
                ranges[-1] = (ranges[-1][0], end_ms)
            else:
                ranges.append((open_ms, end_ms))
        return ranges

    def _fetch(self, symbol: str, start_ms: int, end_ms: int, purpose: Purpose, into: Decision) -> None:
        key = (symbol, start_ms, end_ms)
        if key not in self._fetching:
            self._fetching.add(key)
            into.fetches.append(Fetch(self.feed.name, symbol, start_ms, end_ms, purpose))

    # Answers

    def _page(self, page: PageFetched, now_ms: int, into: Decision) -> None:
        fetch = page.fetch
        self._fetching.discard((fetch.symbol, fetch.start_ms, fetch.end_ms))
        into.taken.append((fetch, len(page.candles)))
        if fetch.symbol in self.known:
            self._fetched(page, now_ms, into)
        provisional = {candle.open_time_ms for candle in page.candles if candle.source is Source.PROVISIONAL}
        present = {candle.open_time_ms for candle in page.candles} - provisional
        # An answer that soon after the close fills gaps, and proves nothing.
        asked = (0, 0) if fetch.purpose is Purpose.LATE else (fetch.start_ms, fetch.end_ms)
        if fetch.symbol in self._gaps:
            self._settle(fetch.symbol, present, asked, page.answered_ms, into)
        if fetch.symbol in self._provisional:
            self._confirm(fetch.symbol, present, asked, page.answered_ms)
        self._doubt(fetch.symbol, provisional, page.answered_ms)
        if fetch.purpose is Purpose.HISTORY and len(page.candles) < self.feed.interval.count(*asked):
            lacking = [
                open_ms
                for open_ms in self.feed.interval.opens(*asked)
                if open_ms not in present | provisional and not self._gaps.holds(fetch.symbol, open_ms)
            ]
            for start_ms, end_ms in self._ranges(lacking):
                reason = "not in the exchange's history"
                into.note(self._gaps.add(fetch.symbol, start_ms, end_ms, reason, page.answered_ms))
            if lacking:
                self._settle(fetch.symbol, present, asked, page.answered_ms, into)

    def _fetched(self, page: PageFetched, now_ms: int, into: Decision) -> None:
        """Take the bars of a page. They come by the hundred thousand, and few of them concern a run."""
        into.candles += page.candles
        if not page.candles:
            return
        newest = page.candles[-1]
        symbol, interval = newest.symbol, self.feed.interval
        if newest.open_time_ms > self.latest.get(symbol, -1):
            self.latest[symbol] = newest.open_time_ms
            self._last[symbol] = newest
        first_ms = self.runs.first_ms()
        if first_ms is None or interval.next(newest.open_time_ms) < first_ms:
            return
        for candle in page.candles:
            run_time_ms = interval.next(candle.open_time_ms)
            if run_time_ms >= first_ms and candle.source is not Source.PROVISIONAL:
                late = page.fetch.purpose is Purpose.LATE and candle.trade_num
                if late and self.runs.awaits(run_time_ms, symbol):
                    into.owed.append((symbol, candle.open_time_ms))
                self.runs.ready(run_time_ms, candle, self.expected, _taken_ms(page.answered_ms, now_ms), into)

    def _failed(self, failure: FetchFailed, now_ms: int, into: Decision) -> None:
        fetch = failure.fetch
        self._fetching.discard((fetch.symbol, fetch.start_ms, fetch.end_ms))
        into.taken.append((fetch, 0))
        if failure.refused:
            self._gaps.postpone(fetch.symbol, now_ms)
            self._provisional.postpone(fetch.symbol, now_ms)
        if failure.refused and fetch.purpose is Purpose.HISTORY:
            # History looks for holes every half hour; as a gap it is asked for before that, and can be seen meanwhile.
            into.note(self._gaps.add(fetch.symbol, fetch.start_ms, fetch.end_ms, "history was refused", now_ms))
        if failure.refused or fetch.purpose is Purpose.LATE:
            text = f"{fetch.symbol}: {failure.problem}"
            into.events.append(Notice(now_ms, Severity.WARNING, "rest", text, self.feed.name))

    def _offered(self, offer: RowsOffered, now_ms: int, into: Decision) -> None:
        """Take the rows of another process. Of bars, those that have closed; what they fill is no hole any more."""
        interval, opens = self.feed.interval, dict[str, set[int]]()
        into.offers.append(offer)
        into.funding_rates += offer.funding_rates
        for gap in offer.gaps:
            into.note(gap)
        for candle in offer.candles:
            run_time_ms = interval.next(candle.open_time_ms)
            if interval.on_grid(candle.open_time_ms) and run_time_ms <= now_ms:
                into.candles.append(candle)
                if candle.source is Source.PROVISIONAL:
                    self._doubt(candle.symbol, (candle.open_time_ms,), now_ms)
                    continue
                opens.setdefault(candle.symbol, set()).add(candle.open_time_ms)
                if run_time_ms in self.runs:
                    self.runs.ready(run_time_ms, candle, self.expected, now_ms, into)
        for symbol in opens.keys() & self.known:
            self.latest[symbol] = max(self.latest.get(symbol, -1), *opens[symbol])
        for symbol in opens:
            if symbol in self._gaps:
                self._settle(symbol, opens[symbol], (0, 0), now_ms, into)
            if symbol in self._provisional:
                self._confirm(symbol, opens[symbol], (0, 0), now_ms)
        for gap in offer.gaps:
            if gap.state is GapState.ABSENT and gap.symbol in self._gaps:
                self._settle(gap.symbol, (), (gap.gap_start_ms, gap.gap_end_ms), now_ms, into)

    # Gaps

    def _settle(
        self, symbol: str, present: Collection[int], asked: tuple[int, int], answered_ms: int, into: Decision
    ) -> None:
        evidence_ms = self.latest.get(symbol) if symbol in self.expected else answered_ms
        for gap in self._gaps.settle(
            symbol, present=present, asked=asked, evidence_ms=evidence_ms, answered_ms=answered_ms
        ):
            into.note(gap)
            if gap.state is GapState.ABSENT:
                self.runs.absent(gap)

    # Provisional bars

    def _doubt(self, symbol: str, opens: Iterable[int], now_ms: int) -> None:
        """Ask again for bars that REST gave too soon, once they are old enough. (A run that waits asks before that.)"""
        for open_ms in sorted(opens):
            end_ms = self.feed.interval.next(open_ms)
            due_ms = end_ms + self._settle_ms + _CONFIRM_AFTER_MS
            self._provisional.add(symbol, open_ms, end_ms, "provisional", now_ms, due_ms=due_ms)

    def _confirm(self, symbol: str, present: Collection[int], asked: tuple[int, int], answered_ms: int) -> None:
        """Ask no more for bars that a closing frame or a later answer has brought."""
        self._provisional.settle(
            symbol, present=present, asked=asked, evidence_ms=self.latest.get(symbol), answered_ms=answered_ms
        )

    # Symbols

    def _exchange_info(self, message: ExchangeInfoFetched, now_ms: int, into: Decision) -> None:
        status = {info.symbol: info.status for info in message.symbols}
        trading = {symbol for symbol, word in status.items() if word == "TRADING"}
        gone = {
            symbol
            for symbol in self.expected - trading
            if self._is_gone(symbol, status.get(symbol), now_ms, starting=message.starting)
        }
        doubted = self.expected - trading - gone
        self._doubted = {symbol: self._doubted.get(symbol, now_ms) for symbol in doubted}
        listed, first = trading - self.expected, not self.expected
        self.known |= trading
        self.expected = trading | doubted
        exginfo = tuple(info for info in message.symbols if info.symbol in self.known)
        if exginfo != self._exginfo:
            into.exginfo = self._exginfo = exginfo
        if message.run_time_ms:
            into.ready.append(Ready(message.run_time_ms, EXGINFO_ITEM, now_ms, Source.REST))
            into.events.append(ExchangeInfoUpdated(now_ms, self.feed.name, message.run_time_ms, len(trading)))
        self._tell_halt(now_ms, into)
        # While nothing trades the streams stay: they are the first to know when it does again.
        if message.starting or (self.expected and (listed or gone)):
            into.listen = frozenset(self.expected)
        if not message.starting:
            into.backfill += sorted(listed)
        if self.expected and not first and (listed or gone):
            into.events.append(SymbolsChanged(now_ms, self.feed.name, tuple(sorted(listed)), tuple(sorted(gone))))
        for symbol in sorted(gone):
            self._last_bars(symbol, now_ms, into, forming=message.starting)
        self.runs.delisted(gone, now_ms, into)

    def _is_gone(self, symbol: str, status: str | None, now_ms: int, *, starting: bool) -> bool:
        """Whether a symbol that does not trade is expected no more.

        Spot says BREAK of one that pauses for seconds and of one that is delisted, and a list may be cut short
        (`status` None): both are believed when they last.
        """
        if status in _ENDED:
            return True
        newest_ms = self.latest.get(symbol, -1)
        if starting and newest_ms < self.feed.interval.shift(self.feed.interval.floor(now_ms), -_RECENT_BARS):
            return True
        if now_ms - self._doubted.get(symbol, now_ms) < DOUBT_MS:
            return False
        # Of one that is not listed bars may come all the same: then the list is wrong.
        due_ms = self.feed.interval.shift(self.feed.interval.floor(now_ms - DOUBT_MS), -1)
        return status is not None or newest_ms < due_ms

    def _tell_halt(self, now_ms: int, into: Decision) -> None:
        if self.halted == (not self.expected):
            return
        self.halted = not self.expected
        if self.halted:
            text = "nothing of this feed trades at the exchange now: its runs are halted until something does"
            into.events.append(Notice(now_ms, Severity.ERROR, "halt", text, self.feed.name))
        else:
            text = f"the market trades again: {len(self.expected)} symbols"
            into.events.append(Notice(now_ms, Severity.INFO, "halt", text, self.feed.name))

    def _last_bars(self, symbol: str, now_ms: int, into: Decision, *, forming: bool) -> None:
        """What a delisted symbol closed unheard is a gap: REST has the last bar only a while after its close, and then
        nobody else would ask for it again. `forming`: the bar that is open now may be its last."""
        interval = self.feed.interval
        if (latest_ms := self.latest.get(symbol)) is None:
            return
        start_ms, end_ms = interval.next(latest_ms), interval.floor(now_ms)
        if forming:
            end_ms = interval.next(end_ms)
        if start_ms < end_ms:
            into.note(self._gaps.add(symbol, start_ms, end_ms, "delisted before it was heard", now_ms))


def _taken_ms(heard_ms: int, now_ms: int) -> int:
    """When a bar that was heard at one time and is written now counts as ready."""
    return now_ms if now_ms - heard_ms > _WAITED_MS else heard_ms
