"""The REST client against a real server on this machine that says whatever a test wants."""

from __future__ import annotations

import asyncio
import gzip
import socket
from itertools import islice
from pathlib import Path

import pytest
from aiohttp import web

from bmacdb.clock import ManualClock, ServerClock
from bmacdb.errors import Blocked, ExchangeError, Malformed, RateLimited, Rejected, Unreachable, UsageError
from bmacdb.exchange.endpoints import Endpoints
from bmacdb.exchange.rest import PAGE_ROWS, RestClient, kline_weight, open_session, retrying
from bmacdb.interval import DAY_MS, MINUTE_MS, Interval
from bmacdb.model import Candle, Market, Source
from tests.exchange.support import NOW_MS, Answer, ScriptedServer, client_of, fixed_clock, serving

MINUTE = Interval.parse("1m")
THIS_MINUTE = MINUTE.floor(NOW_MS)


def row(interval: Interval, open_ms: int) -> list[object]:
    return [open_ms, "1.5", "2.5", "1.0", "2.0", "10", interval.next(open_ms) - 1, "20", 7, "4", "8", "0"]


def rows(interval: Interval, *opens: int) -> Answer:
    return Answer([row(interval, open_ms) for open_ms in opens])


async def ask(client: RestClient, **changes: object) -> tuple[Candle, ...]:
    asked: dict[str, object] = {"start_ms": THIS_MINUTE - 5 * MINUTE_MS, "end_ms": THIS_MINUTE, "limit": 499} | changes
    return await client.klines("AAAUSDT", MINUTE, **asked)  # type: ignore[arg-type]


async def error_of(answer: Answer, market: Market = Market.USDT_FUTURES) -> ExchangeError:
    async with serving(answer) as server, client_of(server, market) as (client, _):
        with pytest.raises(ExchangeError) as caught:
            await ask(client)
    return caught.value


# What is asked


async def test_a_page_is_asked_for_with_its_bounds_and_costs_its_weight() -> None:
    """Path and parameters are the exchange's own, no more rows are asked for than fit, and the header is believed."""
    answer = Answer([row(MINUTE, THIS_MINUTE - MINUTE_MS)], headers={"x-mbx-used-weight-1m": "77"})
    async with serving(answer) as server, client_of(server) as (client, budget):
        (candle,) = await ask(client)
        assert candle.open_time_ms == THIS_MINUTE - MINUTE_MS
        assert server.paths == ["/fapi/v1/klines"]
        assert server.queries == [
            {
                "symbol": "AAAUSDT",
                "interval": "1m",
                "limit": "6",
                "startTime": str(THIS_MINUTE - 5 * MINUTE_MS),
                "endTime": str(THIS_MINUTE),
            }
        ]
        assert budget.used == 77


async def test_what_may_still_form_is_left_out_when_the_clock_is_badly_known() -> None:
    """A slow line or a busy machine knows the exchange's time by seconds: a bar that closed within them may be open."""
    clock = ServerClock(monotonic=lambda: 1000.0)
    clock.observe(THIS_MINUTE + 5_000, sent=994.0, received=1006.0)  # give or take six seconds
    bars = rows(MINUTE, THIS_MINUTE - 2 * MINUTE_MS, THIS_MINUTE - MINUTE_MS)
    async with serving(bars) as server, client_of(server, clock=clock) as (client, _):
        assert [candle.open_time_ms for candle in await ask(client)] == [THIS_MINUTE - 2 * MINUTE_MS]


@pytest.mark.parametrize(("limit", "weight"), [(1, 1), (99, 1), (100, 2), (499, 2), (500, 5), (1000, 5), (1001, 10)])
def test_the_weight_of_a_page_depends_on_its_rows(limit: int, weight: int) -> None:
    """The documented ladder of futures; spot is flat. A full page is the cheapest per row there is."""
    assert kline_weight(Market.COIN_FUTURES, limit) == weight
    assert kline_weight(Market.SPOT, limit) == 2
    best = max(range(1, 1501), key=lambda size: (size / kline_weight(Market.USDT_FUTURES, size), size))
    assert best == PAGE_ROWS[Market.USDT_FUTURES]


async def test_weight_without_a_header_is_still_counted() -> None:
    """A proxy may drop the header; what we know we have used stays."""
    async with serving() as server, client_of(server, Market.SPOT) as (client, budget):
        await ask(client)
        assert budget.used == 2


async def test_symbols_are_percent_encoded() -> None:
    """Chinese names in UTF-8."""
    async with serving() as server, client_of(server) as (client, _):
        await client.klines("币安人生USDT", MINUTE, start_ms=None, end_ms=None, limit=5)
        assert "symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT" in server.raw_paths[0]
        assert server.queries[0]["symbol"] == "币安人生USDT"


async def test_connections_are_kept() -> None:
    """Twenty requests one after another share a connection."""
    async with serving() as server, client_of(server) as (client, _):
        for _ in range(20):
            await ask(client)
        assert len(server.paths) == 20
        assert len(server.peers) == 1


async def test_the_server_time_is_measured_on_a_connection_that_stands() -> None:
    """A handshake before the first answer would make the clock late by half of it."""
    clock = ServerClock()
    answer = Answer({"serverTime": NOW_MS})
    async with serving(answer) as server, client_of(server, clock=clock) as (client, _):
        assert await client.server_time() == NOW_MS
        assert len(server.paths) == 2
        assert clock.synchronized
        assert NOW_MS <= clock.now_ms() < NOW_MS + 60_000
        await client.server_time()
        assert len(server.paths) == 3


async def test_exchange_info_tells_the_budget_its_limit(data: Path) -> None:
    """And the symbols that did not parse are named."""
    body = (data / "exchange-info-spot.json").read_bytes()
    async with serving(Answer(body)) as server, client_of(server, Market.SPOT) as (client, budget):
        info = await client.exchange_info()
        assert [symbol.symbol for symbol in info.symbols] == ["AAAUSDT", "BBBBTC"]
        assert server.queries == [{"showPermissionSets": "false"}]
        assert budget.limit == 6000
        assert budget.used == 20


# What is believed of an answer


async def test_only_bars_that_are_safely_closed_are_taken() -> None:
    """By the exchange's clock when the request was sent: a bar that closed a moment ago may still change."""
    opens = [THIS_MINUTE - 2 * MINUTE_MS, THIS_MINUTE - MINUTE_MS, THIS_MINUTE]
    for since_close_ms, taken in ((999, opens[:1]), (1000, opens[:2]), (59_999, opens[:2])):
        clock = fixed_clock(THIS_MINUTE + since_close_ms)
        async with serving(rows(MINUTE, *opens)) as server, client_of(server, clock=clock) as (client, _):
            assert [candle.open_time_ms for candle in await ask(client)] == taken


async def test_a_bar_is_provisional_until_it_is_old_enough_to_be_final() -> None:
    """Asked for 14.999 s after its close it may still change; 15 s after, it and all bars before are believed."""
    opens = [THIS_MINUTE - 2 * MINUTE_MS, THIS_MINUTE - MINUTE_MS]
    for since_close_ms, source in ((14_999, Source.PROVISIONAL), (15_000, Source.REST)):
        clock = fixed_clock(THIS_MINUTE + since_close_ms)
        async with serving(rows(MINUTE, *opens)) as server, client_of(server, clock=clock) as (client, _):
            assert [candle.source for candle in await ask(client)] == [Source.REST, source]


async def test_a_bar_that_claims_to_have_closed_early_is_not_closed() -> None:
    """Its place on the grid counts for as much as the close time in its row."""
    early = row(MINUTE, THIS_MINUTE)
    early[6] = THIS_MINUTE + 1
    async with serving(Answer([early])) as server, client_of(server) as (client, _):
        assert await ask(client) == ()


@pytest.mark.parametrize(
    "opens",
    [
        (THIS_MINUTE - MINUTE_MS, THIS_MINUTE - 2 * MINUTE_MS),
        (THIS_MINUTE - MINUTE_MS, THIS_MINUTE - MINUTE_MS),
        (THIS_MINUTE - 6 * MINUTE_MS,),
        (THIS_MINUTE + MINUTE_MS,),
        (THIS_MINUTE - MINUTE_MS - 1000,),
    ],
    ids=["descending", "doubled", "before the window", "after the window", "off the grid"],
)
async def test_rows_that_were_not_asked_for_are_malformed(opens: tuple[int, ...]) -> None:
    """A cache or proxy may mix answers up; nothing of it gets in."""
    assert isinstance(await error_of(rows(MINUTE, *opens)), Malformed)


async def test_the_grid_of_three_days_is_the_exchanges_to_choose() -> None:
    """Any anchor is taken, but all rows must lie on the same."""
    interval = Interval.parse("3d")
    first = 20_000 * DAY_MS
    assert interval.anchored(first).anchor_ms != interval.anchored(first + DAY_MS).anchor_ms
    for start_ms in (first, first + DAY_MS):
        anchored = interval.anchored(start_ms)
        good = rows(anchored, start_ms, start_ms + 3 * DAY_MS)
        async with serving(good) as server, client_of(server) as (client, _):
            taken = await client.klines("AAAUSDT", interval, start_ms=None, end_ms=None, limit=10)
            assert len(taken) == 2
    async with serving(rows(interval, first, first + 4 * DAY_MS)) as server, client_of(server) as (client, _):
        with pytest.raises(Malformed):
            await client.klines("AAAUSDT", interval, start_ms=None, end_ms=None, limit=10)


async def test_the_oldest_are_asked_for_when_more_lie_in_the_window() -> None:
    """COIN-M would answer with the latest ones: the window is made to fit, so that no market can skip any."""
    async with serving() as server, client_of(server, Market.COIN_FUTURES) as (client, _):
        await ask(client, start_ms=THIS_MINUTE - 1000 * MINUTE_MS, end_ms=THIS_MINUTE, limit=10)
        assert server.queries[0]["endTime"] == str(THIS_MINUTE - 991 * MINUTE_MS)
        assert server.queries[0]["limit"] == "10"


@pytest.mark.parametrize(("start_ms", "end_ms"), [(None, None), (0, None), (None, THIS_MINUTE), (0, THIS_MINUTE)])
@pytest.mark.parametrize("name", ["1m", "1d", "3d", "1w", "1M"])
async def test_coin_m_always_gets_both_bounds_at_most_200_days_apart(
    start_ms: int | None, end_ms: int | None, name: str
) -> None:
    """It refuses longer windows, and makes up a missing bound; what is split comes back as one."""
    interval = Interval.parse(name)
    start_ms = interval.floor(THIS_MINUTE - 600 * DAY_MS) if start_ms is not None else None

    def klines(query: dict[str, str]) -> Answer:
        start, end = int(query["startTime"]), int(query["endTime"])
        assert 0 <= end - start <= 200 * DAY_MS
        first = interval.floor(start)
        first = first if first == start else interval.next(first)
        opens = list(interval.opens(first, end + 1))[-int(query["limit"]) :]
        return rows(interval, *opens)

    async with serving(handler=klines) as server, client_of(server, Market.COIN_FUTURES) as (client, _):
        candles = await client.klines("AAAUSD_PERP", interval, start_ms=start_ms, end_ms=end_ms, limit=499)
    taken = [candle.open_time_ms for candle in candles]
    last = interval.shift(interval.floor(NOW_MS), -1)
    if start_ms is None:
        assert taken[-1] == last
        assert taken == list(interval.opens(taken[0], last + 1))
        assert len(taken) == 498  # the running bar is the 499th
    else:
        expected = list(islice(interval.opens(start_ms, last + 1), 499))
        assert taken == expected


# What goes wrong


@pytest.mark.parametrize("status", [403, 451])
@pytest.mark.parametrize(
    "body", [b"<html>WAF</html>", {"code": 0, "msg": "restricted location"}, b""], ids=["html", "json", "empty"]
)
async def test_a_blocked_address_is_told_what_to_do(status: int, body: object) -> None:
    """A proxy, a rehearsal, and on spot, where the law is the cause, the data-only hosts."""
    error = await error_of(Answer(body, status=status), Market.SPOT)
    assert isinstance(error, Blocked)
    assert error.by_law == (status == 451)
    for remedy in ("--proxy", "--simulate"):
        assert remedy in str(error)
    assert ("--spot-rest-url https://data-api.binance.vision" in str(error)) == (status == 451)
    assert "binance.vision" not in str(await error_of(Answer(body, status=status)))


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(b"<html>502</html>", status=502), Unreachable),
        (Answer({"code": -1000, "msg": "unknown"}, status=500), Unreachable),
        (Answer({"code": -1007, "msg": "Timeout waiting for response"}, status=400), Unreachable),
        (Answer({"code": -1008, "msg": "overloaded"}, status=400), Unreachable),
        (Answer({"code": -1001, "msg": "disconnected"}, status=400), Unreachable),
        (Answer({"code": -1003, "msg": "Too many requests"}, status=400), RateLimited),
        (Answer({"code": -1121, "msg": "Invalid symbol."}, status=400), Rejected),
        (Answer({"code": -1122, "msg": "Invalid symbol status."}, status=400), Rejected),
        (Answer(b"<html>maintenance</html>"), Malformed),
        (Answer(b"<html>404</html>", status=404), Malformed),
        (Answer(b""), Malformed),
        (Answer(b'[[1790000000000,"1'), Malformed),
        (Answer(b"", status=302, headers={"Location": "http://elsewhere/"}), Malformed),
        (Answer([row(MINUTE, THIS_MINUTE - MINUTE_MS)] * 50, torn=True), Malformed),
        (Answer(b"not gzip", headers={"Content-Encoding": "gzip"}), Malformed),
    ],
)
async def test_answers_that_are_none_become_errors_of_ours(answer: Answer, kind: type[ExchangeError]) -> None:
    """Refusals are final, the rest may be asked again; what was asked is named."""
    error = await error_of(answer)
    assert type(error) is kind
    assert error.transient is (kind is not Rejected)
    assert "usdt_futures klines AAAUSDT 1m" in str(error) or kind is Malformed


async def test_a_refusal_carries_the_exchanges_code() -> None:
    """-1121: there is no such symbol."""
    error = await error_of(Answer({"code": -1121, "msg": "Invalid symbol."}, status=400))
    assert isinstance(error, Rejected)
    assert error.code == -1121


async def test_no_answer_in_time_is_unreachable() -> None:
    """With the time that was given to it."""
    async with serving(Answer(delay_s=30)) as server, client_of(server, timeout_s=0.2) as (client, _):
        with pytest.raises(Unreachable, match=r"no answer within 0\.2 s"):
            await ask(client)


async def test_a_connection_that_breaks_without_an_answer_is_asked_again_at_its_weight() -> None:
    """The exchange closes connections that were idle; it may have counted what it did not answer, so both count."""
    answers = [Answer(hung_up=True), rows(MINUTE, THIS_MINUTE - 2 * MINUTE_MS)]
    async with serving(*answers) as server, client_of(server, Market.SPOT) as (client, budget):
        assert len(await ask(client)) == 1
        assert len(server.paths) == 2
        assert budget.used == 4


async def test_an_exchange_that_always_hangs_up_is_unreachable() -> None:
    """It is asked twice, and not a third time behind the budget's back."""
    async with serving(Answer(hung_up=True)) as server, client_of(server, Market.SPOT) as (client, budget):
        with pytest.raises(Unreachable):
            await ask(client)
        assert len(server.paths) == 2
        assert budget.used == 4


async def test_nobody_listening_is_unreachable() -> None:
    """A refused connection."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with client_of(Endpoints(url, url.replace("http", "ws")), timeout_s=2) as (client, _):
            with pytest.raises(Unreachable):
                await ask(client)


@pytest.mark.parametrize(
    ("answer", "until_ms", "banned"),
    [
        (Answer(status=429, headers={"Retry-After": "7"}), NOW_MS + 7000, False),
        (Answer(status=418, headers={"retry-after": "120"}), NOW_MS + 120_000, True),
        (
            Answer({"code": -1003, "msg": f"Way too much; IP banned until {NOW_MS + 55_000}. Please"}, status=418),
            NOW_MS + 55_000,
            True,
        ),
        (Answer(status=429), (NOW_MS // MINUTE_MS + 1) * MINUTE_MS, False),
        (Answer(b"<html>", status=418, headers={"Retry-After": "soon"}), NOW_MS + 120_000, True),
        (Answer(status=418, headers={"Retry-After": "999999999"}), NOW_MS + 3 * DAY_MS, True),
    ],
)
async def test_being_rate_limited_stops_everyone_until_it_is_over(answer: Answer, until_ms: int, banned: bool) -> None:
    """By Retry-After, by the text of the ban, or by a guess."""
    async with serving(answer) as server, client_of(server) as (client, budget):
        with pytest.raises(RateLimited) as caught:
            await ask(client)
        assert (caught.value.until_ms, caught.value.banned) == (until_ms, banned)
        assert budget.banned_until_ms == until_ms
        waiting = asyncio.ensure_future(ask(client, urgent=True))
        await asyncio.wait({waiting}, timeout=0.05)
        assert len(server.paths) == 1
        waiting.cancel()


async def test_a_proxys_password_stays_a_secret() -> None:
    """Whatever the proxy does: refuse the connection, want another password, or answer nonsense."""
    endpoints = Endpoints("http://exchange.invalid", "ws://exchange.invalid")
    answers = [Answer(b"", status=407), Answer(b"<html>", status=200), Answer(b"", status=502)]
    async with serving(*answers) as server:
        proxies = [server.url.replace("http://", "http://user:hunter2@")] * 3 + ["http://user:hunter2@127.0.0.1:1"]
        for proxy in proxies:
            async with client_of(endpoints, proxy=proxy, timeout_s=2) as (client, _):
                with pytest.raises(ExchangeError) as caught:
                    await ask(client)
                assert "hunter2" not in str(caught.value)
    secure = Endpoints("https://exchange.invalid", "wss://exchange.invalid")
    async with serving(Answer(b"", status=407)) as server:
        proxy = server.url.replace("http://", "http://user:hunter2@")
        async with client_of(secure, proxy=proxy, timeout_s=2) as (client, _):
            with pytest.raises(Unreachable) as caught:
                await ask(client)
            assert "hunter2" not in str(caught.value)


async def test_a_request_given_up_by_its_caller_frees_its_place() -> None:
    """Cancellation goes through, and the lease ends."""
    async with serving(Answer(delay_s=30)) as server, client_of(server) as (client, budget):
        asking = asyncio.ensure_future(ask(client))
        while not server.paths:
            await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert budget.used == 1


# Funding


async def test_funding_pages() -> None:
    """Of all symbols on USD-M and of one on COIN-M, at most a thousand, with the bounds that were given."""
    body = [{"symbol": "AAAUSDT", "fundingTime": NOW_MS, "fundingRate": "0.0001", "markPrice": "5"}]
    async with serving(Answer(body)) as server, client_of(server) as (client, _):
        (rate,) = await client.funding_rates(None, start_ms=5, end_ms=None)
        assert rate.funding_rate == 0.0001
        assert server.paths == ["/fapi/v1/fundingRate"]
        assert server.queries == [{"limit": "1000", "startTime": "5"}]
    async with serving(Answer(body)) as server, client_of(server, Market.COIN_FUTURES) as (client, budget):
        await client.funding_rates("AAAUSD_PERP", start_ms=None, end_ms=6)
        assert budget.used == 0  # they have a limit of their own
        assert server.queries == [{"limit": "1000", "symbol": "AAAUSD_PERP", "endTime": "6"}]
        with pytest.raises(UsageError):
            await client.funding_rates(None, start_ms=5, end_ms=None)


async def test_the_premium_index_is_recorded_for_its_run_time() -> None:
    """Ten of weight, all symbols at once."""
    body = [
        {"symbol": "AAAUSDT", "lastFundingRate": "0.0001", "nextFundingTime": 0, "markPrice": "5", "indexPrice": ""}
    ]
    async with serving(Answer(body)) as server, client_of(server) as (client, budget):
        (snapshot,) = await client.premium_index(NOW_MS)
        assert snapshot.run_time_ms == NOW_MS
        assert budget.used == 10


async def test_there_is_no_funding_on_spot() -> None:
    """Said before anything is asked."""
    async with serving() as server, client_of(server, Market.SPOT) as (client, _):
        with pytest.raises(UsageError):
            await client.premium_index(NOW_MS)
        with pytest.raises(UsageError):
            await client.funding_rates("AAAUSDT", start_ms=None, end_ms=None)
        assert server.paths == []


async def test_a_recorded_exchange_info_comes_through_compressed(real_data: Path) -> None:
    """A megabyte, gzipped on the way as the exchange does it, decoded off the event loop."""
    body = gzip.decompress((real_data / "rest" / "um-exchangeInfo-2026-07-08.json.gz").read_bytes())
    answer = Answer(gzip.compress(body), headers={"Content-Encoding": "gzip"})
    async with serving(answer) as server, client_of(server) as (client, _):
        assert len((await client.exchange_info()).symbols) == 820


# Asking again


class Asking:
    """Fails as scripted, then answers 7."""

    def __init__(self, *failures: ExchangeError) -> None:
        self.failures = list(failures)
        self.asked = 0
        self.pauses: list[float] = []
        self.told: list[tuple[ExchangeError, float]] = []

    async def __call__(self) -> int:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        return 7

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def tell(self, error: ExchangeError, seconds: float) -> None:
        self.told.append((error, seconds))


async def test_transient_failures_are_retried_with_growing_pauses() -> None:
    """From half a second to half a minute, jittered, for ever."""
    asking = Asking(*[Unreachable("no"), Malformed("no"), Unreachable("no")] * 8)
    clock = ManualClock(NOW_MS)
    assert await retrying(asking, clock=clock, told=asking.tell, pause=asking.pause) == 7
    assert asking.asked == 25
    assert asking.pauses == [seconds for _, seconds in asking.told]
    assert 0.25 <= asking.pauses[0] <= 0.5
    assert all(0 < seconds <= 30 for seconds in asking.pauses)
    assert min(asking.pauses[8:]) >= 15
    assert len(set(asking.pauses[:6])) == 6


async def test_a_firewall_is_asked_ever_more_rarely() -> None:
    """403: after half a minute first, in the end four times an hour."""
    asking, clock = Asking(*[Blocked("no")] * 12), ManualClock(NOW_MS)
    trying = asyncio.ensure_future(retrying(asking, clock=clock, told=asking.tell))
    for _ in range(2000):
        await asyncio.sleep(0)
        await clock.advance(10)
    assert trying.done()
    assert await trying == 7
    pauses = [seconds for _, seconds in asking.told]
    assert 22 <= pauses[0] <= 38
    assert all(670 <= seconds <= 1130 for seconds in pauses[5:])
    assert clock.now_ms() - NOW_MS >= sum(pauses) * 1000 - 100


async def test_a_refusal_is_not_retried() -> None:
    """The exchange would only say it again."""
    asking = Asking(Rejected("no such symbol", code=-1121))
    with pytest.raises(Rejected):
        await retrying(asking, clock=ManualClock(NOW_MS), pause=asking.pause)
    assert asking.asked == 1


async def test_attempts_are_counted_where_they_are_given() -> None:
    """The last error is raised, without a pause after it."""
    asking = Asking(*[Unreachable(str(number)) for number in range(9)])
    with pytest.raises(Unreachable, match="2"):
        await retrying(asking, clock=ManualClock(NOW_MS), attempts=3, pause=asking.pause)
    assert len(asking.pauses) == 2


async def test_a_rate_limit_is_waited_for_by_the_exchanges_clock() -> None:
    """Until the instant that it named."""
    clock = ManualClock(NOW_MS)
    asking = Asking(RateLimited("slow down", until_ms=NOW_MS + 30_000, banned=False))
    task = asyncio.ensure_future(retrying(asking, clock=clock, told=asking.tell, pause=asking.pause))
    await asyncio.sleep(0)
    await clock.advance(29.9)
    assert asking.asked == 1
    await clock.advance(0.1)
    assert await task == 7
    assert asking.pauses == []
    assert asking.told[0][1] == 30


def test_a_server_of_the_tests_names_itself() -> None:
    """What the scripts stand on: REST and websocket URLs of the same place."""
    assert ScriptedServer(url="http://127.0.0.1:5").endpoints == Endpoints("http://127.0.0.1:5", "ws://127.0.0.1:5")


async def test_a_websocket_may_be_silent_for_longer_than_a_request() -> None:
    """The session's time-out is for connecting and for the first answer."""

    async def speak_late(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await asyncio.sleep(1.5)
        await socket.send_str("hello")
        await socket.receive()
        return socket

    async def hang(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    application = web.Application()
    application.router.add_get("/speak", speak_late)
    application.router.add_get("/hang", hang)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        async with open_session(timeout_s=1.0) as session:
            async with session.ws_connect(f"ws://{host}:{port}/speak") as listening:
                assert await listening.receive_str() == "hello"
            with pytest.raises(TimeoutError):
                await session.ws_connect(f"ws://{host}:{port}/hang")
    finally:
        await runner.cleanup()
