"""Everything that can be made to go wrong, seen from a client."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Literal

import aiohttp
import pytest

from bmacdb.errors import UsageError
from bmacdb.interval import HOUR_MS, MINUTE_MS
from bmacdb.model import Market
from bmacdb.simulated.encode import Frame
from bmacdb.simulated.faults import (
    KINDS,
    Blocked,
    ChangingBar,
    ClockSkew,
    Delisting,
    DoubledClose,
    Fault,
    FormingBar,
    GarbageFrame,
    Halt,
    Hang,
    LateClose,
    Listing,
    LostClose,
    Mishap,
    Refused,
    Relisting,
    RestStatus,
    SilentSocket,
    SilentStream,
    SocketDies,
    StaleKlines,
    SwappedClose,
    TruncatedBody,
    Unwelcome,
    WrongClose,
    fault_of,
    parse_fault,
)
from bmacdb.simulated.script import Script
from bmacdb.simulated.stats import Stats
from tests.simulated.support import FAST, FROZEN, START_MS, Client, closed, events, eventually, running

BOTH = ("btcusdt@kline_1m", "ethusdt@kline_1m")
NOW_MS = START_MS + 30_000
LATEST = ("/fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "1m", "limit": 3})


async def runs_seen(*faults: Fault, path: str = "/market/stream", count: int = 8) -> list[tuple[str, int]]:
    """The closed bars of two symbols (without the faults, about `count`), as minutes from START_MS."""
    async with running(speed=FAST, faults=faults) as client:
        socket = await client.listen(path, *BOTH)
        seen = closed(await events(socket, until=lambda seen: len(seen) >= count))
        return [(symbol, (run - START_MS) // MINUTE_MS) for symbol, run in seen]


async def opens(client: Client, **query: object) -> list[int]:
    """The open times (minutes from START_MS) that klines has, and whether any of them is open still."""
    status, rows = await client.get(LATEST[0], **LATEST[1] | query)
    assert status == 200
    return [(row[0] - START_MS) // MINUTE_MS for row in rows]


# --- closing frames


async def test_lost_frames_are_not_sent() -> None:
    """Those of one symbol are lost from its second minute on; the other's come."""
    fault = LostClose(symbols=frozenset({"BTCUSDT"}), from_ms=START_MS + 2 * MINUTE_MS)
    seen = await runs_seen(fault)
    assert [run for symbol, run in seen if symbol == "BTCUSDT"] in ([1], [])
    assert len([run for symbol, run in seen if symbol == "ETHUSDT"]) >= 7


def test_chances_are_those_of_the_seed() -> None:
    """A third is lost, and the same third again with the same seed; another of the next bar, none of another market."""
    names = [f"X{number}USDT" for number in range(300)]
    frames = [((False, name), Frame(b"", b"", Market.SPOT, name)) for name in names]

    def left(seed: int, run_time_ms: int = START_MS, **where: Any) -> list[str]:
        script = Script(seed, Stats())
        script.add(LostClose(probability=0.3, **where), now_ms=START_MS)
        return [frame.symbol for _, frame in script.closing(frames, run_time_ms).now]

    assert 180 < len(left(1)) < 240
    assert left(1) == left(1)
    assert left(1) != left(2)
    assert left(1) != left(1, START_MS + MINUTE_MS)
    assert left(1, market=Market.COIN_FUTURES) == names


async def test_late_frames_come_after_so_many_seconds() -> None:
    """Of the exchange's time."""
    fault = LateClose(seconds=80, times=1, symbols=frozenset({"BTCUSDT"}))
    async with running(speed=FAST, faults=[fault]) as client:
        socket = await client.listen("/market/stream", *BOTH)
        arrived: dict[int, int] = {}
        while len(arrived) < 3:
            event = (await socket.receive_json()).get("data")
            if event and event["s"] == "BTCUSDT":
                arrived[event["k"]["T"] + 1] = client.exchange.clock.now_ms()
        first = min(arrived)
        assert arrived[first] - first >= 80_000
        assert next(iter(arrived)) != first


async def test_doubled_frames_come_twice() -> None:
    """Each of them."""
    seen = await runs_seen(DoubledClose(), count=8)
    assert len(seen) == 2 * len(set(seen))


async def test_swapped_frames_come_after_the_next_bar() -> None:
    """The order of the bars is wrong, and none is missing."""
    seen = await runs_seen(SwappedClose(times=1, symbols=frozenset({"BTCUSDT"})), count=10)
    runs = [run for symbol, run in seen if symbol == "BTCUSDT"]
    assert runs != sorted(runs)
    assert sorted(runs) == list(range(min(runs), max(runs) + 1))


async def test_wrong_frames_are_corrected_by_history() -> None:
    """A closing frame with a volume of its own; REST tells the true one."""
    async with running(speed=FAST, faults=[WrongClose(symbols=frozenset({"BTCUSDT"}))]) as client:
        for path in ("/market/stream", "/market/ws"):
            socket = await client.listen(path, *BOTH)
            frames: dict[str, Any] = {}
            while len(frames) < 2:
                frame = await socket.receive_json()
                event = frame.get("data", frame)
                frames[event["s"]] = event["k"]
            for symbol, k in frames.items():
                (bar,) = client.exchange.expected(Market.USDT_FUTURES, symbol, "1m", k["t"], k["t"] + 1)
                assert (float(k["v"]) == bar.volume) == (symbol == "ETHUSDT")
                assert float(k["c"]) == bar.close


@pytest.mark.parametrize("shape", ["text", "half", "binary"])
async def test_garbage_frames_do_not_parse(shape: Any) -> None:
    """No JSON, half of it, or binary; text and binary are extra, half takes the frame's place."""
    fault = GarbageFrame(shape=shape, times=1, from_ms=START_MS)
    async with running(speed=FAST, faults=[fault]) as client:
        socket = await client.listen("/market/stream", *BOTH)
        bad, good = [], []
        while len(good) < 5:
            message = await socket.receive()
            try:
                assert message.type is aiohttp.WSMsgType.TEXT
                good.append(json.loads(message.data)["data"]["k"]["T"])
            except (AssertionError, ValueError):
                bad.append(message)
        assert len(bad) == 1
        assert (bad[0].type is aiohttp.WSMsgType.BINARY) == (shape == "binary")
        assert good.count(good[0]) == (1 if shape == "half" else 2)


# --- sockets


@pytest.mark.parametrize("midway", [False, True])
async def test_a_socket_dies_at_the_boundary_and_none_is_let_in(midway: bool) -> None:
    """Before its closing frames, or when half of them are sent; after `refuse_seconds` a new one is served."""
    fault = SocketDies(times=1, midway=midway, refuse_seconds=1e6)
    async with running(speed=FAST, faults=[fault]) as client:
        socket = await client.listen("/market/stream", *BOTH)
        frames = 0
        while (message := await socket.receive()).type is aiohttp.WSMsgType.TEXT:
            frames += "true" in message.data
        assert frames == (1 if midway else 0)
        with pytest.raises(aiohttp.ClientError):
            await client.listen("/market/stream", *BOTH)
        assert client.exchange.stats.connections_refused >= 1  # the client may try twice
        assert (await client.get("/fapi/v1/time"))[0] == 200
        client.exchange.inject(ClockSkew(seconds=1e6))
        again = await client.listen("/market/stream", *BOTH)
        assert closed(await events(again, until=lambda seen: len(seen) >= 2))


async def test_an_announced_end_is_announced() -> None:
    """serverShutdown first, as spot sends it since May 2026."""
    async with running(speed=FAST, faults=[SocketDies(times=1, announced=True)]) as client:
        socket = await client.listen("/stream", *BOTH)
        frame = await socket.receive_json()
        assert frame["stream"] == "!serverShutdown"
        assert frame["data"]["e"] == "serverShutdown"
        assert (await socket.receive()).type is not aiohttp.WSMsgType.TEXT


@pytest.mark.parametrize("how", ["close", "deny"])
async def test_a_websocket_is_let_in_and_not_served(how: Literal["close", "deny"]) -> None:
    """Closed at once with 1008, or its subscription is answered with an error."""
    async with running(speed=FROZEN, faults=[Unwelcome(how=how)]) as client:
        socket = await client.session.ws_connect(client.exchange.ws_url + "/market/stream")
        if how == "close":
            assert (await socket.receive()).data == 1008
        else:
            await socket.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@kline_1m"], "id": 7})
            assert (await socket.receive_json())["error"]["code"] == 2
        assert client.exchange.summary()["most_connects"] == 1


async def test_a_silent_socket_acknowledges_and_sends_nothing() -> None:
    """One opened after that is served."""
    async with running(speed=FAST) as client:
        old = await client.listen("/market/stream", *BOTH)
        client.exchange.inject(SilentSocket())
        silent_ms = client.exchange.clock.now_ms()
        await client.exchange.clock.sleep(0.5)
        new = await client.listen("/market/stream", *BOTH)
        await events(new, until=lambda seen: len(seen) >= 4)
        await old.send_json({"method": "SUBSCRIBE", "params": ["bnbusdt@kline_1m"], "id": 5})
        answers = []
        while not answers or answers[-1].get("id") != 5:
            answers.append(await old.receive_json())
        heard = [frame["data"] for frame in answers if "data" in frame]
        assert [run for _, run in closed(heard) if run > silent_ms] == []


@pytest.mark.parametrize("cure", ["subscribe", "reconnect", "none"])
async def test_some_streams_of_a_socket_are_silent(cure: Any) -> None:
    """Until they are asked for again, on a new connection, or for good."""
    async with running(speed=FAST) as client:
        socket = await client.listen("/market/stream", *BOTH)
        client.exchange.inject(SilentStream(symbols=frozenset({"BTCUSDT"}), cure=cure))
        muted_ms = client.exchange.clock.now_ms()

        def later(seen: list[dict[str, Any]]) -> list[str]:
            return [event["s"] for event in seen if event["k"]["T"] > muted_ms]

        assert set(later(await events(socket, until=lambda seen: len(later(seen)) >= 3))) == {"ETHUSDT"}
        await client.exchange.clock.sleep(0.5)
        await socket.send_json({"method": "SUBSCRIBE", "params": list(BOTH), "id": 2})
        while (await socket.receive_json()).get("id") != 2:
            pass
        muted_ms = client.exchange.clock.now_ms() + MINUTE_MS
        heard = set(later(await events(socket, until=lambda seen: len(later(seen)) >= 4)))
        assert ("BTCUSDT" in heard) == (cure == "subscribe")
        fresh = await client.listen("/market/stream", *BOTH)
        heard = {event["s"] for event in await events(fresh, until=lambda seen: len(seen) >= 4)}
        assert ("BTCUSDT" in heard) == (cure != "none")


# --- requests


@pytest.mark.parametrize(
    ("fault", "status", "retry_after", "html"),
    [
        (RestStatus(status=500), 500, None, False),
        (RestStatus(status=502, html=True), 502, None, True),
        (RestStatus(status=429), 429, None, False),
        (RestStatus(status=429, retry_after=7), 429, "7", False),
        (RestStatus(status=418, retry_after=120), 418, "120", False),
        (RestStatus(status=418), 418, None, False),
        (Blocked(), 451, None, False),
        (Blocked(status=403), 403, None, True),
    ],
)
async def test_requests_are_refused_with_a_status(
    fault: Fault, status: int, retry_after: str | None, html: bool
) -> None:
    """5xx, 429 and 418 with and without Retry-After, 451 and 403, as JSON or as a page of HTML."""
    async with running(speed=FROZEN, faults=[fault]) as client:
        got, headers = await client.head("/fapi/v1/time")
        assert (got, headers.get("Retry-After")) == (status, retry_after)
        assert headers["Content-Type"].startswith("text/html" if html else "application/json")
        if isinstance(fault, Blocked):
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await client.listen("/stream")
            assert caught.value.status == status
        client.exchange.heal()
        assert (await client.get("/fapi/v1/time"))[0] == 200


async def test_one_endpoint_fails_and_the_others_do_not() -> None:
    """exchangeInfo of one market, twice."""
    fault = RestStatus(endpoint="exchangeInfo", market=Market.SPOT, times=2)
    async with running(speed=FROZEN, faults=[fault]) as client:
        assert (await client.get("/fapi/v1/exchangeInfo"))[0] == 200
        assert (await client.get("/api/v3/time"))[0] == 200
        assert [(await client.get("/api/v3/exchangeInfo"))[0] for _ in range(3)] == [503, 503, 200]
        assert client.exchange.stats.faults == {"rest": 2}


async def test_faults_have_their_time() -> None:
    """They begin and end by the exchange's clock."""
    fault = RestStatus(status=500, from_ms=START_MS + MINUTE_MS, until_ms=START_MS + 3 * MINUTE_MS)
    async with running(speed=FAST, faults=[fault]) as client:
        clock = client.exchange.clock
        before = clock.now_ms(), (await client.get("/fapi/v1/ping"))[0], clock.now_ms()
        await clock.sleep_until(START_MS + 3 * MINUTE_MS)
        assert (await client.get("/fapi/v1/ping"))[0] == 200
        assert before[1] == 200 or before[2] > START_MS + MINUTE_MS
        client.exchange.inject(RestStatus(status=500, from_ms=clock.now_ms()))
        assert (await client.get("/fapi/v1/ping"))[0] == 500


async def test_an_answer_is_cut_short() -> None:
    """The body is no JSON any more, though HTTP is content."""
    async with running(speed=FROZEN, faults=[TruncatedBody()]) as client:
        status, body = await client.get(LATEST[0], **LATEST[1])
        assert (status, type(body)) == (200, str)


async def test_an_answer_never_comes_or_comes_late() -> None:
    """The client's patience decides; or the seconds of the fault pass."""
    async with running(speed=FAST, faults=[Hang(times=1), Hang(seconds=60)]) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await client.get("/fapi/v1/time")
        asked_ms = client.exchange.clock.now_ms()
        assert (await client.get("/fapi/v1/time"))[0] == 200
        assert client.exchange.clock.now_ms() - asked_ms >= 60_000


async def test_the_newest_bars_are_missing_for_a_while() -> None:
    """A bar that closed 30 s ago is missing from answers that are 40 s stale, and there once they are only 20 s."""
    async with running(speed=FROZEN, start_ms=NOW_MS, faults=[StaleKlines(seconds=40, times=1)]) as client:
        assert await opens(client) == [-4, -3, -2]
        client.exchange.inject(StaleKlines(seconds=20, times=1))
        assert await opens(client) == [-3, -2, -1]
        assert await opens(client) == [-2, -1, 0]


async def test_the_open_bar_comes_although_it_was_excluded() -> None:
    """As a row like any other, after those that were asked for."""
    async with running(speed=FROZEN, start_ms=NOW_MS) as client:
        assert await opens(client, endTime=START_MS - 1) == [-3, -2, -1]
        client.exchange.inject(FormingBar())
        assert await opens(client, endTime=START_MS - 1) == [-3, -2, -1, 0]


async def test_a_closed_bar_changes_until_it_is_final() -> None:
    """20 s after the close a bar that is final after 40 s lacks trades, one that is final after 15 s does not; the bars
    before are as they will be."""
    path, query = "/fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "1m", "limit": 3, "endTime": START_MS - 1}
    async with running(speed=FROZEN, start_ms=START_MS + 20_000) as client:
        _, final = await client.get(path, **query)
        client.exchange.inject(ChangingBar(seconds=40, share=0.5, times=1))
        _, changing = await client.get(path, **query)
        assert changing[:2] == final[:2]
        assert float(changing[2][5]) == pytest.approx(float(final[2][5]) * 0.75, rel=0.01), "half of it is to come yet"
        assert changing[2][8] < final[2][8]
        client.exchange.inject(ChangingBar(seconds=15, share=0.5, times=1))
        assert (await client.get(path, **query))[1] == final


async def test_nobody_is_there() -> None:
    """Neither sockets nor requests get through."""
    async with running(speed=FROZEN, faults=[Refused(rest=True)]) as client:
        with pytest.raises(aiohttp.ClientError):
            await client.get("/fapi/v1/time")
        with pytest.raises(aiohttp.ClientError):
            await client.listen("/stream")


# --- events


async def test_the_clock_steps() -> None:
    """To where the machine's own is behind; the bars follow it."""
    async with running(speed=FROZEN, faults=[ClockSkew(seconds=-30)]) as client:
        assert (await client.get("/api/v3/time"))[1]["serverTime"] == START_MS - 30_000
        client.exchange.inject(ClockSkew(seconds=60))
        assert (await client.get("/fapi/v1/time"))[1]["serverTime"] == START_MS + 30_000
    async with running(speed=FAST, faults=[ClockSkew(seconds=HOUR_MS / 1000, at_ms=START_MS + MINUTE_MS)]) as client:
        await eventually(lambda: client.exchange.clock.now_ms() > START_MS + HOUR_MS)


async def test_symbols_come_and_go_while_sockets_listen() -> None:
    """A stream asked for before its listing begins with it, and ends with the delisting."""
    market, symbol = Market.USDT_FUTURES, "NEWUSDT"
    async with running(speed=FAST) as client:
        socket = await client.listen("/market/stream", "newusdt@kline_1m", *BOTH)
        at_ms = (client.exchange.clock.now_ms() // MINUTE_MS + 3) * MINUTE_MS
        client.exchange.inject(Listing(market=market, symbol=symbol, at_ms=at_ms))
        client.exchange.inject(Delisting(market=market, symbol=symbol, at_ms=at_ms + 90_000))
        client.exchange.inject(Halt(market=market, symbol="BTCUSDT", at_ms=at_ms, seconds=120))
        last = at_ms + 5 * MINUTE_MS
        seen = closed(await events(socket, until=lambda seen: any(run >= last for _, run in closed(seen))))
        assert [run for name, run in seen if name == symbol] == [at_ms + MINUTE_MS, at_ms + 2 * MINUTE_MS]
        assert not {at_ms + MINUTE_MS, at_ms + 2 * MINUTE_MS} & {run for name, run in seen if name == "BTCUSDT"}
        assert at_ms + 3 * MINUTE_MS in {run for name, run in seen if name == "BTCUSDT"}
        _, rows = await client.get("/fapi/v1/klines", symbol=symbol, interval="1m")
        assert len(rows) == 2


async def test_futures_forget_the_old_klines_of_a_ticker() -> None:
    """REST answers for the new contract alone, though both are in what is expected."""
    market = Market.USDT_FUTURES
    ends_ms, begins_ms = NOW_MS - 2 * HOUR_MS, NOW_MS - HOUR_MS
    faults = [
        Delisting(market=market, symbol="BTCUSDT", at_ms=ends_ms),
        Relisting(market=market, symbol="BTCUSDT", at_ms=begins_ms),
    ]
    async with running(speed=FROZEN, start_ms=NOW_MS, faults=faults) as client:
        _, rows = await client.get("/fapi/v1/klines", symbol="BTCUSDT", interval="1m", startTime=0, limit=100)
        assert rows[0][0] == begins_ms // MINUTE_MS * MINUTE_MS
        assert len(rows) == 61
        both = client.exchange.expected(market, "BTCUSDT", "1m", ends_ms - HOUR_MS, NOW_MS)
        assert len(both) > 61


# --- how they are written


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("lost", LostClose()),
        ("lost:0.05", LostClose(probability=0.05)),
        ("late:1,seconds=30,symbols=BTCUSDT+ETHUSDT", LateClose(seconds=30, symbols=frozenset({"BTCUSDT", "ETHUSDT"}))),
        (
            "dies,after=60,for=60,refuse_seconds=30",
            SocketDies(from_ms=START_MS + 60_000, until_ms=START_MS + 120_000, refuse_seconds=30),
        ),
        (
            "rest:0.1,status=418,retry_after=120,endpoint=klines",
            RestStatus(probability=0.1, status=418, retry_after=120, endpoint="klines"),
        ),
        ("rest,html=true,market=spot", RestStatus(html=True, market=Market.SPOT)),
        ("hang,seconds=none", Hang()),
        ("mute,cure=subscribe", SilentStream(cure="subscribe")),
        ("skew,seconds=-30", ClockSkew(seconds=-30)),
        (
            "delisting,market=spot,symbol=ETHUSDT,after=90",
            Delisting(market=Market.SPOT, symbol="ETHUSDT", at_ms=START_MS + 90_000),
        ),
    ],
)
def test_a_fault_is_written_in_a_line(text: str, fault: Fault) -> None:
    """KIND[:PROBABILITY][,NAME=VALUE…], with times in seconds from now."""
    assert parse_fault(text, now_ms=START_MS) == fault


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("losst", "Did you mean lost"),
        ("late,secs=3", "Did you mean seconds"),
        ("lost:2", "probability 2 is not between 0 and 1"),
        ("lost:often", "'often' is not a number"),
        ("rest,status=5.5", "not a whole number"),
        ("lost,market=spott", "Did you mean spot"),
        ("garbage,shape=round", "not one of text, half, binary"),
        ("rest,html=perhaps", "neither true nor false"),
        ("listing,market=spot", "needs symbol"),
        ("late,seconds", "not of the form NAME=VALUE"),
        ("lost,after=soon", "after 'soon' is not a number"),
    ],
)
def test_what_is_no_fault_is_refused(text: str, complaint: str) -> None:
    """By name, and with the nearest that is one."""
    with pytest.raises(UsageError, match=complaint):
        parse_fault(text, now_ms=START_MS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_given_by_name(kind: str) -> None:
    """On a command line, and as an object."""
    values = {"market": "spot", "symbol": "NEWUSDT"} if not issubclass(KINDS[kind], Mishap) and kind != "skew" else {}
    fault = fault_of(kind, values, now_ms=START_MS)
    assert fault.kind == kind
    assert parse_fault(",".join([kind, *(f"{n}={v}" for n, v in values.items())]), now_ms=START_MS) == fault


async def test_other_processes_may_inject_faults() -> None:
    """Over `/_control/faults`, as text or as objects; DELETE ends them; nonsense is refused and names itself."""
    async with running(speed=FROZEN) as client:
        url = client.exchange.rest_url + "/_control/faults"
        wanted = ["blocked:1,status=403", {"kind": "delisting", "market": "spot", "symbol": "ETHUSDT"}]
        async with client.session.post(url, json=wanted) as response:
            assert response.status == 200
        assert (await client.get("/api/v3/time"))[0] == 403
        async with client.session.delete(url) as response:
            assert response.status == 200
        assert (await client.get("/api/v3/time"))[0] == 200
        _, info = await client.get("/api/v3/exchangeInfo")
        assert {entry["status"] for entry in info["symbols"] if entry["symbol"] == "ETHUSDT"} == {"BREAK"}
        for nonsense in ("losst", 7, {"kind": "delisting", "market": "spot", "symbol": "NOPE"}):
            async with client.session.post(url, json=nonsense) as response:
                assert response.status == 400
                assert (await response.json())["error"]
