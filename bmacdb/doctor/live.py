"""The live probe: how the exchange really behaves, measured with public data for some minutes. Nothing is recorded.

It asks with the recorder's own client and writes down what it finds in a `Findings` for each market, of which `report`
makes the text. Whatever fails is a finding too, and the other questions go on.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

import aiohttp

from bmacdb.clock import ServerClock
from bmacdb.errors import ExchangeError, Malformed
from bmacdb.exchange.addresses import Addresses
from bmacdb.exchange.answers import used_weight
from bmacdb.exchange.endpoints import Endpoints
from bmacdb.exchange.limit import Lease, RequestWindow, WeightBudget
from bmacdb.exchange.rest import RestClient
from bmacdb.exchange.session import http_proxy, open_session
from bmacdb.exchange.wire import parse_kline_frame
from bmacdb.interval import HOUR_MS, MINUTE_MS, Interval
from bmacdb.model import Candle, Market, SymbolInfo
from bmacdb.settings import Settings

__all__ = ["AGES_S", "Close", "Findings", "Path", "Weights", "probe"]

AGES_S = (2, 5, 15, 60)
"""How long after its close a bar is asked for, in seconds; the last answer is taken for the final one."""

_STREAMS = 200  # of a market: one message subscribes to so many
_BESIDE = 5  # on the other paths
_REST_SYMBOLS = 3
_MISSING_ASKED = 5
_RECONNECT_S = 10.0
_LIMITS = {Market.SPOT: 6000, Market.USDT_FUTURES: 2400, Market.COIN_FUTURES: 2400}
_PATHS = {
    Market.SPOT: ("/stream", "/ws"),
    Market.USDT_FUTURES: ("/market/stream", "/stream", "/market/ws", "/ws"),
    Market.COIN_FUTURES: ("/market/stream", "/stream", "/market/ws", "/ws"),
}
_ROWS = {Market.SPOT: (1, 1000), Market.USDT_FUTURES: (1, 100, 499, 1500), Market.COIN_FUTURES: (1, 100, 499, 1500)}
_EXCHANGE_HOSTS = (".binance.com", ".binance.vision")
_MINUTE = Interval.parse("1m")

T = TypeVar("T")


class Close(NamedTuple):
    """A closing frame: the bar, and how long after its close it arrived, in ms of the exchange's clock."""

    candle: Candle
    delay_ms: float


@dataclass(slots=True)
class Path:
    """A websocket path: frames of klines, connections made, and why the last one ended or failed."""

    frames: int = 0
    connects: int = 0
    trouble: str = ""


@dataclass(slots=True)
class Weights:
    """What a kind of request weighs: as the recorder reckons, and as the exchange's headers grew."""

    reckoned: int
    measured: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Findings:
    """What was found at one market."""

    market: Market
    skew_ms: float | None = None
    uncertainty_ms: float = 0.0
    statuses: Counter[tuple[str, str]] = field(default_factory=Counter)  # (contract type, status)
    streams: dict[str, str] = field(default_factory=dict)  # symbol -> contract type, on the first path
    boundaries: list[int] = field(default_factory=list)
    paths: dict[str, Path] = field(default_factory=dict)
    closes: list[Close] = field(default_factory=list)
    missing_trades: list[int] = field(default_factory=list)  # of bars whose closing frame never came, by REST
    rest: dict[tuple[str, int], dict[int, Candle | None]] = field(default_factory=lambda: defaultdict(dict))
    empty_funding: str | None = None
    weights: dict[str, Weights] = field(default_factory=dict)
    not_asked: dict[str, str] = field(default_factory=dict)  # question -> why


@dataclass(slots=True)
class _Asking:
    """What all markets share, since they may share a count of weight, too."""

    request: asyncio.Lock = field(default_factory=asyncio.Lock)
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    last: tuple[Market, int, int] | None = None  # the last answer: its minute, and the weight used by then


class _Scale(WeightBudget):
    """A budget that notes beside each weight how much the exchange's own count grew. One request at a time."""

    def __init__(self, found: Findings, clock: ServerClock, asking: _Asking) -> None:
        super().__init__(_LIMITS[found.market], clock=clock)
        self.what = ""
        self._found, self._now_ms, self._asking = found, clock.now_ms, asking
        self._weight = 0

    async def acquire(self, weight: int, *, urgent: bool = False) -> Lease:
        self._weight = weight
        return await super().acquire(weight, urgent=urgent)

    def _finish(self, number: int, used: int | None) -> None:
        super()._finish(number, used)
        noted = self._found.weights.setdefault(self.what, Weights(self._weight))
        market, minute, last = self._found.market, self._now_ms() // MINUTE_MS, self._asking.last
        if used and last is not None and last[:2] == (market, minute):
            noted.measured.append(used - last[2])
        self._asking.last = (market, minute, used) if used else None


async def probe(settings: Settings, minutes: int, found: list[Findings], tell: Callable[[str], None]) -> None:
    """Look at each market of the settings' feeds over `minutes` boundaries; fill `found` as things are learnt.

    It takes about `minutes` + 2 minutes of the exchange's time, and may be cancelled: `found` has what is known.
    """
    endpoints = Endpoints.of(settings)
    markets = list(dict.fromkeys(feed.market for feed in settings.feeds))
    found += [Findings(market) for market in markets]
    asking = _Asking()
    async with open_session(endpoints=endpoints, timeout_s=settings.http_timeout_sec, proxy=settings.proxy) as session:
        await asyncio.gather(*(_Market(one, settings, endpoints, session, asking).look(minutes, tell) for one in found))


class _Market:
    def __init__(
        self,
        found: Findings,
        settings: Settings,
        endpoints: Endpoints,
        session: aiohttp.ClientSession,
        asking: _Asking,
    ) -> None:
        self._found, self._session, self._asking = found, session, asking
        self._market = market = found.market
        self._proxy = None if endpoints.is_loopback(market) else http_proxy(settings.proxy)
        self._timeout_s = settings.http_timeout_sec
        self._addresses = Addresses(market, endpoints)
        self._streams = _stream_urls(market, endpoints)
        self._clock = ServerClock(rate=settings.clock_rate)
        self._scale = _Scale(found, self._clock, asking)
        self._client = RestClient(
            market,
            endpoints=endpoints,
            session=session,
            clock=self._clock,
            budget=self._scale,
            funding_window=RequestWindow(clock=self._clock),
            timeout_s=settings.http_timeout_sec,
            proxy=self._proxy,
            addresses=self._addresses,
        )

    async def look(self, minutes: int, tell: Callable[[str], None]) -> None:
        async with self._asking.opening:  # one market after another, so that each weight can be told
            await self._open()
        names = list(self._found.streams)
        if not names:
            return
        tell(f"{self._market}: {len(names)} streams, {minutes} closes")
        own = self._streams[0]
        listening = {url: self._start_listening(url, keep=url == own) for url in self._streams}
        try:
            await self._clock.sleep_until(_MINUTE.shift(_MINUTE.floor(self._clock.now_ms()), 1))
            delivers = [url for url in self._streams if self._found.paths[_shown(url)].frames]
            if delivers and own not in delivers:  # the recorder would turn to it, too
                listening[own].cancel()
                listening[delivers[0]].cancel()
                listening[own] = self._start_listening(delivers[0], keep=True)
            await self._follow_closes(minutes, names, tell)
        finally:
            for task in listening.values():
                task.cancel()
            await asyncio.gather(*listening.values(), return_exceptions=True)
        await self._ask_missing()

    async def _open(self) -> None:
        await self._ask("clock", "time", self._client.server_time)
        if not self._clock.synchronized:
            self._found.not_asked["everything else"] = "the exchange does not tell its time"
            return
        for _ in range(4):
            await self._ask("clock", "time", self._client.server_time)
        self._found.skew_ms = self._clock.skew_ms()
        self._found.uncertainty_ms = self._clock.uncertainty_ms()
        info = await self._ask("symbols", "exchangeInfo", self._client.exchange_info)
        trading = [] if info is None else _sample(info.symbols)
        if info is not None:
            self._found.statuses.update((one.contract_type or "SPOT", one.status) for one in info.symbols)
        if not trading:
            self._found.not_asked.setdefault("symbols", "none is trading")
            return
        self._found.streams = {one.symbol: one.contract_type or "SPOT" for one in trading}
        await self._weigh(trading[0].symbol)
        await self._ask_empty_funding(trading[0].symbol)

    async def _ask(self, question: str, what: str, ask: Callable[[], Awaitable[T]]) -> T | None:
        """The answer, or None: then the reason is noted. `what` is how the request is called beside its weight."""
        async with self._asking.request:
            self._scale.what = what
            try:
                return await ask()
            except (ExchangeError, aiohttp.ClientError, OSError, TimeoutError) as error:
                self._found.not_asked[question] = str(error) or type(error).__name__
                return None

    async def _weigh(self, symbol: str) -> None:
        """Ask what has not been asked yet, for its weight alone."""
        for rows in _ROWS[self._market]:
            await self._klines("weights", symbol, self._clock.now_ms() - rows * MINUTE_MS, rows)
        if self._market is not Market.SPOT:
            now_ms = self._clock.now_ms()
            await self._ask("premium index", "premiumIndex", lambda: self._client.premium_index(now_ms))

    async def _klines(self, question: str, symbol: str, start_ms: int, rows: int) -> tuple[Candle, ...] | None:
        async def ask() -> tuple[Candle, ...]:
            return await self._client.klines(
                symbol, _MINUTE, start_ms=_MINUTE.floor(start_ms), end_ms=None, limit=rows, urgent=True
            )

        return await self._ask(question, f"klines of {rows} rows", ask)

    async def _ask_empty_funding(self, symbol: str) -> None:
        """The body itself, of a second in which nothing is settled."""
        if self._market is Market.SPOT:
            return
        start_ms = self._clock.now_ms() // HOUR_MS * HOUR_MS - HOUR_MS // 2
        params = {"symbol": symbol, "startTime": str(start_ms), "endTime": str(start_ms + 1000)}

        async def ask() -> str:
            with await self._scale.acquire(0) as lease:
                timeout = aiohttp.ClientTimeout(total=self._timeout_s)
                url = f"{self._addresses.rest}/fundingRate"
                async with self._session.get(url, params=params, proxy=self._proxy, timeout=timeout) as response:
                    body = await response.read()
                lease.answered(used_weight(response.headers))
                return f"HTTP {response.status}, {len(body)} bytes: {body[:80].decode('utf-8', 'replace')}"

        self._found.empty_funding = await self._ask("empty funding", "fundingRate", ask)

    async def _follow_closes(self, minutes: int, names: list[str], tell: Callable[[str], None]) -> None:
        """At each close ask REST for some bars of different activity, at every age."""
        first_ms = _MINUTE.shift(_MINUTE.floor(self._clock.now_ms()), 1)
        watched = names[:_REST_SYMBOLS]
        async with asyncio.TaskGroup() as tasks:
            for number in range(minutes):
                run_time_ms = _MINUTE.shift(first_ms, number)
                await self._clock.sleep_until(run_time_ms)
                self._found.boundaries.append(run_time_ms)
                tasks.create_task(self._follow_bars(watched, run_time_ms))
                await self._clock.sleep_until(run_time_ms + AGES_S[-2] * 1000)
                came = [
                    close.candle for close in self._found.closes if close.candle.open_time_ms + MINUTE_MS == run_time_ms
                ]
                tell(f"{self._market}: close {number + 1} of {minutes}, {len(came)} of {len(names)} closing frames")
                watched = _of_each_activity(came) or watched

    async def _follow_bars(self, symbols: Iterable[str], run_time_ms: int) -> None:
        opened_ms = run_time_ms - MINUTE_MS
        for age_s in AGES_S:
            await self._clock.sleep_until(run_time_ms + age_s * 1000)
            for symbol in symbols:
                bars = await self._klines("REST bars", symbol, opened_ms, 1)
                if bars is not None:
                    same = [bar for bar in bars if bar.open_time_ms == opened_ms]
                    self._found.rest[symbol, opened_ms][age_s] = same[0] if same else None

    async def _ask_missing(self) -> None:
        """Of some bars whose closing frame never came: did anybody trade?"""
        came = {(close.candle.symbol, close.candle.open_time_ms) for close in self._found.closes}
        opens = [run_time_ms - MINUTE_MS for run_time_ms in self._found.boundaries]
        missing = [one for one in itertools.product(self._found.streams, opens) if one not in came]
        for symbol, opened_ms in missing[:: max(len(missing) // _MISSING_ASKED, 1)][:_MISSING_ASKED]:
            bars = await self._klines("missing frames", symbol, opened_ms, 1)
            self._found.missing_trades += [bar.trade_num for bar in bars or () if bar.open_time_ms == opened_ms]

    # Websockets

    def _start_listening(self, url: str, *, keep: bool) -> asyncio.Task[None]:
        self._found.paths.setdefault(_shown(url), Path())
        return asyncio.create_task(self._listen(url, keep=keep))

    async def _listen(self, url: str, *, keep: bool) -> None:
        """Hear what an address says, until cancelled: all streams where closes are to be kept, else a few."""
        noted, names = self._found.paths[_shown(url)], list(self._found.streams)
        params = [f"{name.lower()}@kline_{_MINUTE.name}" for name in (names if keep else names[:_BESIDE])]
        while True:
            try:
                noted.connects += 1
                async with self._session.ws_connect(
                    url, proxy=self._proxy, decode_text=False, heartbeat=30.0
                ) as socket:
                    await socket.send_json({"method": "SUBSCRIBE", "params": params, "id": 1})
                    async for message in socket:
                        self._hear(noted, message.data, keep=keep)
                noted.trouble = f"closed with {socket.close_code}"
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                noted.trouble = str(error) or type(error).__name__
            await self._clock.sleep(_RECONNECT_S)

    def _hear(self, noted: Path, frame: bytes, *, keep: bool) -> None:
        arrived_ms = self._clock.now_ms()
        if b'"kline"' not in frame:
            if b'"error"' in frame or b'"code"' in frame:
                noted.trouble = frame[:120].decode("utf-8", "replace")
            return
        noted.frames += 1
        if not keep or b"true" not in frame:
            return
        try:
            event = parse_kline_frame(frame)
        except Malformed as error:
            self._found.not_asked["a closing frame"] = str(error)
            return
        if event is not None:
            self._found.closes.append(Close(event.candle, arrived_ms - event.candle.open_time_ms - MINUTE_MS))


def _stream_urls(market: Market, endpoints: Endpoints) -> list[str]:
    """Those that the recorder would try, in its order, then other paths of the first host."""
    first, *others = endpoints.streams(market)
    base = first.removesuffix(max((path for path in _PATHS[market] if first.endswith(path)), key=len, default=""))
    return list(dict.fromkeys([first, *others, *(base + path for path in _PATHS[market])]))


def _shown(url: str) -> str:
    """The path, and the host where it is the exchange's own: addresses of users are shown to nobody."""
    parts = urlsplit(url)
    return f"{parts.netloc if str(parts.hostname).endswith(_EXCHANGE_HOSTS) else ''}{parts.path}"


def _sample(symbols: Iterable[SymbolInfo]) -> list[SymbolInfo]:
    """Trading symbols, as many of each contract type as there is room for."""
    groups: dict[str | None, list[SymbolInfo]] = defaultdict(list)
    for one in symbols:
        if one.status == "TRADING":
            groups[one.contract_type].append(one)
    rounds = itertools.zip_longest(*groups.values())
    return [one for row in rounds for one in row if one is not None][:_STREAMS]


def _of_each_activity(candles: list[Candle]) -> list[str]:
    """The symbol with the most trades, one in the middle, and the one with the fewest."""
    order = [candle.symbol for candle in sorted(candles, key=lambda candle: -candle.trade_num)]
    return list(dict.fromkeys((order[0], order[len(order) // 2], order[-1]))) if order else []
