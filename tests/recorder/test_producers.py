"""The producers: the alarm rings at boundaries, the fetchers take what is urgent first, funding comes whole."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import cast

import pytest

from bmacdb.clock import ManualClock
from bmacdb.errors import ExchangeError, Malformed, Rejected, Unreachable
from bmacdb.exchange.market import MarketDesk
from bmacdb.exchange.rest import RestClient
from bmacdb.interval import HOUR_MS, MINUTE_MS, Interval
from bmacdb.model import Candle, FundingRate
from bmacdb.recorder.alarm import PeriodAlarm
from bmacdb.recorder.events import Event, Notice
from bmacdb.recorder.feed import audit_time
from bmacdb.recorder.fetch import RestFetchers
from bmacdb.recorder.frames import FrameLog
from bmacdb.recorder.funding import FundingUpdater, settled_since
from bmacdb.recorder.messages import Boundary, Fetch, FetchFailed, FundingFetched, Message, PageFetched, Purpose, Tick
from bmacdb.symbols import parse_feed

from .support import FEED, T0, candle


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0)


async def test_the_alarm_rings_at_every_boundary_and_every_second_in_between() -> None:
    clock = ManualClock(T0 - 1_500)
    told: list[tuple[int, str]] = []

    async def put(message: Boundary | Tick) -> None:
        told.append((clock.now_ms() - T0, type(message).__name__))

    rung: list[int] = []
    alarm = PeriodAlarm(FEED, clock=clock, put=put, at_boundary=rung.append, skipped=lambda *_: None)
    task = asyncio.create_task(alarm.run(T0))
    await asyncio.sleep(0)
    await clock.advance(62)
    task.cancel()
    assert rung == [T0, T0 + MINUTE_MS]
    assert [at for at, kind in told if kind == "Boundary"] == [0, MINUTE_MS]
    ticks = [at for at, kind in told if kind == "Tick"]
    assert all(at % 1000 == 0 for at in ticks)
    assert set(range(0, 60_000, 1000)) <= set(ticks)


@pytest.mark.parametrize(("interval", "phase_ms"), [("1s", 500), ("1m", 30_000), ("5m", 60_000), ("1d", 60_000)])
def test_audits_do_not_fall_on_boundaries(interval: str, phase_ms: int) -> None:
    """A half-hour audit of minutes would always fall on the same second after a boundary, while the market closes."""
    grid = Interval.parse(interval)
    for earliest_ms in range(T0, T0 + 2 * 60_000, 7_333):
        at_ms = audit_time(grid, earliest_ms)
        assert at_ms - grid.floor(at_ms) == phase_ms
        assert earliest_ms <= at_ms < grid.next(earliest_ms)


async def test_an_alarm_that_slept_through_many_boundaries_says_so_and_rings_the_newest() -> None:
    clock = ManualClock(T0 - 10)
    rung: list[int] = []
    skipped: list[tuple[int, int]] = []

    async def put(message: Boundary | Tick) -> None:
        if isinstance(message, Boundary) and message.run_time_ms == T0:
            clock._now_ms += 100 * MINUTE_MS  # the machine was suspended

    alarm = PeriodAlarm(
        FEED, clock=clock, put=put, at_boundary=rung.append, skipped=lambda a, b: skipped.append((a, b))
    )
    task = asyncio.create_task(alarm.run(T0))
    await asyncio.sleep(0)
    await clock.advance(0.01)
    await until(lambda: len(rung) >= 2)
    task.cancel()
    assert rung == [T0, T0 + 100 * MINUTE_MS]
    assert skipped == [(T0 + MINUTE_MS, T0 + 100 * MINUTE_MS)]


class ScriptedClient:
    """Answers klines as told, and remembers what it was asked."""

    def __init__(self, answers: dict[str, list[ExchangeError]]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, bool]] = []
        self.gate = asyncio.Event()

    async def klines(
        self, symbol: str, interval: Interval, *, start_ms: int, end_ms: int, limit: int, urgent: bool
    ) -> tuple[Candle, ...]:
        self.asked.append((symbol, urgent))
        assert limit == interval.count(start_ms, end_ms) + 1
        await self.gate.wait()
        if self.answers.get(symbol):
            raise self.answers[symbol].pop(0)
        return (candle(symbol, start_ms),)


def fetch(symbol: str, purpose: Purpose) -> Fetch:
    return Fetch(FEED.name, symbol, T0, T0 + MINUTE_MS, purpose)


def fetchers(client: ScriptedClient, delivered: list[Message], *, workers: int) -> RestFetchers:
    async def deliver(message: Message) -> None:
        delivered.append(message)
        if isinstance(message, PageFetched | FetchFailed):
            rows = len(message.candles) if isinstance(message, PageFetched) else 0
            asyncio.get_running_loop().call_soon(rest.taken, message.fetch, rows)

    rest = RestFetchers(
        workers,
        {FEED.name: (FEED, cast(RestClient, client))},
        clock=ManualClock(T0 + MINUTE_MS),
        deliver=deliver,
        told=lambda *_: None,
        pause=lambda _: asyncio.sleep(0),
    )
    return rest


async def test_late_bars_pass_repairs_and_history_holds_up_neither() -> None:
    client, delivered = ScriptedClient({}), list[Message]()
    rest = fetchers(client, delivered, workers=1)
    history = [asyncio.create_task(rest.fetch(fetch(f"H{n}", Purpose.HISTORY))) for n in range(3)]
    await asyncio.sleep(0)
    for symbol, purpose in (("R1", Purpose.REPAIR), ("L1", Purpose.LATE), ("R2", Purpose.REPAIR)):
        assert rest.offer(fetch(symbol, purpose))
    task = asyncio.create_task(rest.run())
    await until(lambda: len(client.asked) == 2)
    client.gate.set()
    await until(lambda: len(delivered) == 6)
    task.cancel()
    assert [symbol for symbol, urgent in client.asked if urgent] == ["L1", "R1", "R2"]
    assert [await page for page in history] == [1, 1, 1]


async def test_a_late_bar_that_fails_is_told_and_history_that_is_refused_is_given_up() -> None:
    client = ScriptedClient({"L": [Unreachable("no answer")], "H": [Rejected("no such symbol", code=-1121)]})
    delivered: list[Message] = []
    client.gate.set()
    rest = fetchers(client, delivered, workers=2)
    task = asyncio.create_task(rest.run())
    rest.offer(fetch("L", Purpose.LATE))
    assert await rest.fetch(fetch("H", Purpose.HISTORY)) == 0
    await until(lambda: len(delivered) == 2)
    task.cancel()
    failures = {m.fetch.symbol: m.refused for m in delivered if isinstance(m, FetchFailed)}
    assert failures == {"L": False, "H": True}


async def test_history_is_tried_again_until_the_exchange_answers() -> None:
    client = ScriptedClient({"H": [Unreachable("no answer"), Malformed("half a body")]})
    delivered: list[Message] = []
    client.gate.set()
    rest = fetchers(client, delivered, workers=1)
    task = asyncio.create_task(rest.run())
    assert await rest.fetch(fetch("H", Purpose.HISTORY)) == 1
    task.cancel()
    assert len(client.asked) == 3
    assert [type(message) for message in delivered] == [PageFetched]


async def test_a_page_that_never_parses_does_not_hold_up_the_others() -> None:
    client = ScriptedClient({"H": [Malformed("no such bar can be") for _ in range(100)]})
    delivered: list[Message] = []
    client.gate.set()
    rest = fetchers(client, delivered, workers=1)
    task = asyncio.create_task(rest.run())
    assert await rest.fetch(fetch("H", Purpose.HISTORY)) == 0
    assert await rest.fetch(fetch("I", Purpose.HISTORY)) == 1
    task.cancel()


def settled(symbol: str, hours: int) -> FundingRate:
    return FundingRate(symbol, T0 + hours * HOUR_MS, "Regular", 0.0001, None)


async def test_settled_funding_is_paged_by_time_and_nothing_is_lost_at_the_seams() -> None:
    rates = [settled(f"S{n}", hours) for hours in range(8) for n in range(400)]

    async def ask(symbol: str | None, start_ms: int) -> tuple[FundingRate, ...]:
        assert symbol is None
        return tuple(rate for rate in rates if rate.funding_time_ms >= start_ms)[:1000]

    symbols = {f"S{n}" for n in range(300)}
    found = {rate async for page in settled_since(ask, T0, symbols) for rate in page}
    assert found == {rate for rate in rates if rate.symbol in symbols}


async def test_more_settlements_at_one_instant_than_a_page_holds_are_asked_for_by_symbol() -> None:
    rates = [settled(f"S{n}", hours) for hours in range(3) for n in range(1200)]

    async def ask(symbol: str | None, start_ms: int) -> tuple[FundingRate, ...]:
        found = [r for r in rates if r.funding_time_ms >= start_ms and symbol in (None, r.symbol)]
        return tuple(found[:1000])

    symbols = {f"S{n}" for n in range(1200)}
    found = {rate async for page in settled_since(ask, T0, symbols) for rate in page}
    assert found == set(rates)


class Settlements:
    """A desk whose pages of all symbols never parse, nor do those of BADUSDT; all the others do."""

    def __init__(self) -> None:
        self.client = self
        self.asked: Counter[str | None] = Counter()
        self.since: list[tuple[str | None, int]] = []
        self.healed = False

    async def funding_rates(
        self, symbol: str | None, *, start_ms: int | None, end_ms: int | None
    ) -> tuple[FundingRate, ...]:
        assert start_ms is not None
        self.asked[symbol] += 1
        self.since.append((symbol, (start_ms - T0) // HOUR_MS))
        if not self.healed and symbol in (None, "BADUSDT"):
            raise Malformed("null is no list of fundings")
        symbols = ("BADUSDT", "AUSDT", "ZUSDT") if symbol is None else (symbol,)
        return tuple(settled(symbol, 1) for symbol in symbols)


@pytest.mark.parametrize("trade_type", ["usdt_perp_1m", "coin_perp_1m"])
async def test_fundings_that_never_parse_hold_up_no_other_symbol(trade_type: str) -> None:
    """The page of all symbols is asked for six times, then each symbol by itself; the one whose rows are bad is
    told of, given up, and asked for from the same time on in the next round."""
    desk, clock = Settlements(), ManualClock(T0 + 30 * HOUR_MS)
    delivered: list[str] = []
    told: list[float] = []

    async def put(message: FundingFetched) -> None:
        delivered.extend(rate.symbol for rate in message.rates)

    async def pause(seconds: float) -> None:
        pass

    updater = FundingUpdater(
        parse_feed(trade_type),
        cast("MarketDesk", desk),
        clock=clock,
        put=put,
        symbols=lambda: ("BADUSDT", "AUSDT", "ZUSDT"),
        told=lambda error, seconds: told.append(seconds),
        pause=pause,
    )
    task = asyncio.create_task(updater.run(window_start_ms=T0, known={}))
    await until(lambda: "ZUSDT" in delivered)
    whole = {None: 6} if trade_type == "usdt_perp_1m" else {}
    assert delivered == ["AUSDT", "ZUSDT"]
    assert desk.asked == whole | {"BADUSDT": 6, "AUSDT": 1, "ZUSDT": 1}
    assert told.count(0.0) == 1 + len(whole), "each is told once when it is given up"
    desk.healed = True
    desk.since.clear()
    await clock.advance(3700)
    await until(lambda: "BADUSDT" in delivered)
    assert ("BADUSDT", 0) in desk.since, "from where it was not answered on"
    task.cancel()


async def test_a_symbol_whose_fundings_are_behind_is_asked_for_from_its_last_one() -> None:
    """As after a restart in hours in which its rows did not parse."""
    desk, clock = Settlements(), ManualClock(T0 + 30 * HOUR_MS)
    desk.healed = True

    async def put(message: FundingFetched) -> None:
        pass

    known = {"AUSDT": T0 + 29 * HOUR_MS, "BADUSDT": T0 + 3 * HOUR_MS, "ZUSDT": T0 + 24 * HOUR_MS}
    updater = FundingUpdater(
        FEED, cast("MarketDesk", desk), clock=clock, put=put, symbols=lambda: known, told=lambda *_: None
    )
    task = asyncio.create_task(updater.run(window_start_ms=T0, known=known))
    await until(lambda: len(desk.since) == 2)
    assert desk.since == [(None, 21), ("BADUSDT", 3)]
    task.cancel()


def test_frames_that_do_not_parse_are_counted_and_told_once_a_minute() -> None:
    clock = ManualClock(T0)
    told: list[Event] = []
    log = FrameLog(clock, told.append)
    for second in range(130):
        clock._now_ms = T0 + second * 1000
        log(Malformed("garbage"))
    assert log.total == 130
    texts = [event.text for event in told if isinstance(event, Notice)]
    assert [text.split()[0] for text in texts] == ["1", "60", "60"]
