"""The stand-in exchange as a context manager: a loopback port for each market, and one that serves all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from bmacdb.clock import ServerClock
from bmacdb.errors import Unreachable, UsageError
from bmacdb.interval import DAY_MS, MINUTE_MS
from bmacdb.model import Market
from bmacdb.simulated.archive import SimulatedArchive
from bmacdb.simulated.faults import (
    ClockSkew,
    Delisting,
    Fault,
    Halt,
    Listing,
    Mishap,
    Relisting,
    RestStatus,
    fault_of,
    parse_fault,
)
from bmacdb.simulated.feeder import Feeder
from bmacdb.simulated.generate import Bar
from bmacdb.simulated.hosts import CoinPaths, SocketPath, socket_paths
from bmacdb.simulated.limits import RequestLimit
from bmacdb.simulated.refusals import refused
from bmacdb.simulated.rest import RestApi
from bmacdb.simulated.script import Script
from bmacdb.simulated.sockets import Connection
from bmacdb.simulated.stats import Stats
from bmacdb.simulated.universe import Universe

__all__ = ["SimulatedExchange"]

_CONNECTS = 300  # in five minutes
_FRONT = "/bmacdb"  # where the front's websockets are
_HOSTS = (None, *Market)  # the front, and a host of each market; ports in this order


class SimulatedExchange:
    """Serves while the context is entered, in the caller's event loop.

    `symbols` is how many symbols of its main trade type each market trades (a number, or one for each
    market); a few of every other kind are listed beside them. The clock starts at `start_ms` (None: now)
    and runs `speed` times faster than real time. Closing frames are spread over `close_spread_ms` real
    milliseconds. `updates_per_second` is how often (real time) each stream tells of its open bar.
    Connections end at `lifetime_ms` of the exchange's time. The last `recent` symbols of a market were
    listed only hours ago. With `quiet_closes` False, futures send no closing frame for a bar without trades.
    `weight_limit` (a minute) takes the place of the real ones: a small one is soon reached.
    `ping_seconds` (real; None: the real exchange's 20 s and 3 min) is how often clients are pinged.
    `replay` names archive files (or directories of them) whose candles take the place of generated ones.
    `port` is the front's, and those of the markets follow it (0: free ones). `coin_paths` says which websocket paths
    of COIN-M's host send candles.

    Each market has a host of its own (`rest_urls`, `ws_urls`), as at the exchange. The front (`rest_url`, `ws_url`)
    serves all of them to a recorder that is given one address: REST by path; websockets of futures on routed paths, of
    spot on the others, all of them below a path that is no other client's.

    Other processes reach it by `/_control/stats` (GET), `/_control/faults` (POST adds, DELETE ends) and
    `/_control/expected?market&symbol&interval&start&end` (GET).
    """

    def __init__(
        self,
        *,
        symbols: int | Mapping[Market, int] = 20,
        markets: Iterable[Market] = tuple(Market),
        speed: float = 1.0,
        seed: int = 0,
        start_ms: int | None = None,
        close_spread_ms: float = 100.0,
        updates_per_second: float = 0.0,
        lifetime_ms: int = DAY_MS,
        recent: int = 1,
        quiet_closes: bool = True,
        ping_seconds: float | None = None,
        weight_limit: int | None = None,
        faults: Iterable[Fault] = (),
        replay: Iterable[Path] = (),
        coin_paths: CoinPaths = "both",
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.speed, self.seed, self._host, self._coin_paths = speed, seed, host, coin_paths
        self._ports = {one: port + place if port else 0 for place, one in enumerate(_HOSTS)}
        self.clock = ServerClock(rate=speed)
        now = self.clock.monotonic()
        self.start_ms = self.clock.now_ms() if start_ms is None else start_ms
        self.clock.observe(self.start_ms, sent=now, received=now)
        self.universe = Universe(
            start_ms=self.start_ms, symbols=symbols, markets=markets, seed=seed, recent=recent, replay=replay
        )
        self.stats = Stats()
        self._script = Script(seed, self.stats)
        self._quiet_closes, self._ping_seconds = quiet_closes, ping_seconds
        self._spread_ms, self._updates, self._lifetime_ms = close_spread_ms, updates_per_second, lifetime_ms
        self._rest = RestApi(self.universe, self.clock, self.stats, self._script, weight_limit=weight_limit)
        self.archive = SimulatedArchive(self.universe, self.clock)
        self._connects = RequestLimit(_CONNECTS, 5 * MINUTE_MS)
        self._connections: set[Connection] = set()
        self._feeder: Feeder | None = None
        self._main: asyncio.Task[None] | None = None
        self._started = asyncio.Event()
        self._ending = asyncio.Event()
        self._skews: list[ClockSkew] = []
        self._tasks: asyncio.TaskGroup | None = None
        for fault in faults:
            self.inject(fault)

    def __repr__(self) -> str:
        return f"<SimulatedExchange {self.rest_url} speed={self.speed:g} connections={len(self._connections)}>"

    @property
    def rest_url(self) -> str:
        """The front: what takes the place of scheme, host and port of every REST endpoint."""
        return f"http://{self._host}:{self._ports[None]}"

    @property
    def archive_url(self) -> str:
        """What takes the place of the archive's addresses, its listing's and its files'."""
        return f"{self.rest_url}/archive"

    @property
    def ws_url(self) -> str:
        """The same for websockets, for bmacdb alone: another client's old futures path would be spot's there."""
        return f"ws://{self._host}:{self._ports[None]}{_FRONT}"

    @property
    def rest_urls(self) -> dict[Market, str]:
        """What takes the place of `https://fapi.binance.com` and the like, market by market."""
        return {market: f"http://{self._host}:{self._ports[market]}" for market in Market}

    @property
    def ws_urls(self) -> dict[Market, str]:
        """The same for `wss://fstream.binance.com` and the like."""
        return {market: f"ws://{self._host}:{self._ports[market]}" for market in Market}

    def expected(self, market: Market, symbol: str, interval: str, start_ms: int, end_ms: int) -> list[Bar]:
        """Every bar that opened in [start, end), oldest first: the history that a record is held against."""
        return self.universe.expected(market, symbol, interval, start_ms, end_ms)

    def inject(self, fault: Fault) -> None:
        """Let a fault strike from now on. Raises UsageError for an event that cannot be (an unknown symbol)."""
        now_ms = self.clock.now_ms()
        match fault:
            case Mishap():
                self._script.add(fault, now_ms=now_ms)
            case ClockSkew(at_ms=at_ms):
                if at_ms is None or at_ms <= now_ms:
                    self._skew(fault)
                elif self._tasks is None:
                    self._skews.append(fault)
                else:
                    self._tasks.create_task(self._skew_later(fault))
            case Listing() | Delisting() | Relisting() | Halt():
                self.universe.happen(fault, now_ms=now_ms)

    def heal(self) -> None:
        """End every mishap; what has happened to symbols and to the clock stays."""
        self._script.clear()

    def _skew(self, skew: ClockSkew) -> None:
        now = self.clock.monotonic()
        self.clock.observe(self.clock.now_ms() + round(skew.seconds * 1000), sent=now, received=now)

    async def _skew_later(self, skew: ClockSkew) -> None:
        await self.clock.sleep_until(skew.at_ms or 0)
        self._skew(skew)

    async def __aenter__(self) -> Self:
        self._main = asyncio.create_task(self._serve(), name="stand-in exchange")
        started = asyncio.create_task(self._started.wait())
        await asyncio.wait({self._main, started}, return_when=asyncio.FIRST_COMPLETED)
        if self._main.done():
            started.cancel()
            self._main.result()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        if self._main is not None:
            await self._main

    async def wait(self, ending: asyncio.Event) -> None:
        """Serve until `ending` is set. Raises whatever the exchange fails with before that."""
        if self._main is None:
            raise RuntimeError("the stand-in exchange does not run: enter its context first.")
        waiting = asyncio.create_task(ending.wait())
        try:
            await asyncio.wait({self._main, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if self._main.done():
                self._main.result()
        finally:
            waiting.cancel()

    async def _serve(self) -> None:
        async with AsyncExitStack() as hosts:
            for market in _HOSTS:
                runner = web.AppRunner(
                    self._app(market), access_log=None, shutdown_timeout=0.5, handler_cancellation=True
                )
                await runner.setup()
                hosts.push_async_callback(runner.cleanup)
                await self._listen(runner, market)
            await self._run()

    def _app(self, market: Market | None) -> web.Application:
        app = web.Application()
        app.add_routes(self._rest.routes(tuple(Market) if market is None else (market,)))
        for path, carried in socket_paths(market, self._coin_paths).items():
            handler = partial(self._socket, path=carried)
            place = path if market is not None else _FRONT + path
            app.router.add_get(place, handler)
            if not carried.combined:
                app.router.add_get(place + "/{names:.+}", handler)
        if market is None:
            app.add_routes(self.archive.routes())
            app.router.add_get("/_control/stats", self._tell_stats)
            app.router.add_post("/_control/faults", self._take_faults)
            app.router.add_delete("/_control/faults", self._drop_faults)
            app.router.add_get("/_control/expected", self._tell_expected)
        return app

    async def _listen(self, runner: web.AppRunner, market: Market | None) -> None:
        port = self._ports[market]
        try:
            await web.TCPSite(runner, self._host, port).start()
        except OSError as error:
            raise Unreachable(
                f"port {port} of {self._host} cannot be listened on ({error.strerror or error}): "
                "free it, or take any free ones with --port 0."
            ) from error
        self._ports[market] = runner.addresses[0][1]

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                self._feeder = Feeder(
                    self.universe,
                    self.clock,
                    self.stats,
                    self._script,
                    speed=self.speed,
                    close_spread_ms=self._spread_ms,
                    updates_per_second=self._updates,
                    quiet_closes=self._quiet_closes,
                    seed=self.seed,
                    tasks=tasks,
                )
                self._tasks = tasks
                for skew in self._skews:
                    tasks.create_task(self._skew_later(skew))
                ender = tasks.create_task(self._ending.wait())
                self._started.set()
                await ender
                for connection in list(self._connections):
                    connection.die()
                raise _Ended
        except* _Ended:
            pass
        finally:
            self._tasks = None

    async def _socket(self, request: web.Request, *, path: SocketPath) -> web.StreamResponse:
        feeder = self._feeder
        if feeder is None or request.transport is None:
            raise web.HTTPServiceUnavailable
        now_ms = self.clock.now_ms()
        if (status := self._script.blocked(now_ms)) is not None:
            return refused(RestStatus(status=status, html=status == 403), now_ms)
        if self._script.refuses(now_ms) or self._connects.charge(now_ms).status != 200:
            self.stats.connections_refused += 1
            request.transport.abort()
            raise web.HTTPServiceUnavailable
        socket = web.WebSocketResponse(compress=False, autoping=False, max_msg_size=1 << 20)
        try:
            await socket.prepare(request)
        except ConnectionError:  # the client went before it was answered
            return socket
        self.stats.connections_made += 1
        connection = Connection(
            self.stats.connections_made,
            socket,
            request.transport,
            path,
            opened_ms=self.clock.now_ms(),
            now_ms=self.clock.now_ms,
            stats=self.stats,
            may_subscribe=lambda: self._script.welcomes(self.clock.now_ms(), "deny"),
            ping_seconds=self._ping_seconds,
        )
        if not self._script.welcomes(now_ms, "close"):
            await connection.end(1008, "Policy violation")
            return socket
        wanted = request.match_info.get("names", "") or request.query.get("streams", "")
        names = [name for name in wanted.split("/") if name]
        self._connections.add(connection)
        self.stats.connections = len(self._connections)
        try:
            if not names or await connection.subscribe(names, feeder):
                await self._attend(connection, feeder)
        except* ConnectionError:  # the client went while it was being answered
            pass
        finally:
            feeder.unsubscribed(connection, list(connection.streams))
            self._connections.discard(connection)
            self.stats.connections = len(self._connections)
        return socket

    async def _attend(self, connection: Connection, feeder: Feeder) -> None:
        async with asyncio.TaskGroup() as tasks:
            chores = [tasks.create_task(connection.keep_alive()), tasks.create_task(self._expire(connection))]
            try:
                await connection.serve(feeder)
            finally:
                for chore in chores:
                    chore.cancel()

    async def _expire(self, connection: Connection) -> None:
        await self.clock.sleep(self._lifetime_ms / 1000)
        await connection.end(1001, "connection too old")

    async def _tell_stats(self, request: web.Request) -> web.Response:
        return web.json_response(self.summary())

    async def _take_faults(self, request: web.Request) -> web.Response:
        """A list (or one) of faults: as text (`"lost:0.05"`) or as an object with `kind` and the fields of it."""
        try:
            wanted = await request.json()
            for one in wanted if isinstance(wanted, list) else [wanted]:
                now_ms = self.clock.now_ms()
                if isinstance(one, str):
                    fault = parse_fault(one, now_ms=now_ms)
                elif isinstance(one, dict):
                    fault = fault_of(str(one.pop("kind", "")), one, now_ms=now_ms)
                else:
                    raise UsageError(f"fault {one!r} is neither text nor an object with a kind.")
                self.inject(fault)
        except (ValueError, UsageError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"now_ms": self.clock.now_ms()})

    async def _drop_faults(self, request: web.Request) -> web.Response:
        self.heal()
        return web.json_response({"now_ms": self.clock.now_ms()})

    async def _tell_expected(self, request: web.Request) -> web.Response:
        """`?market&symbol&interval&start&end`: what `expected` returns, as lists."""
        query = request.query
        try:
            market, start_ms, end_ms = Market(query["market"]), int(query["start"]), int(query["end"])
            bars = self.expected(market, query["symbol"], query["interval"], start_ms, end_ms)
        except (KeyError, ValueError, UsageError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response(bars)

    def summary(self) -> dict[str, object]:
        """What happened so far, as plain values."""
        weights = {
            "spot": self._rest.weights[Market.SPOT],
            "futures": self._rest.weights[Market.USDT_FUTURES],
        }
        return self.stats.as_dict() | {
            "now_ms": self.clock.now_ms(),
            "subscriptions": 0 if self._feeder is None else self._feeder.subscriptions,
            "weight": {
                name: {"limit": weight.limit, "used": weight.used, "most_a_minute": weight.most}
                for name, weight in weights.items()
            },
            "most_connects": self._connects.most,  # in five minutes
            "most_funding_requests": self._rest.funding_requests.most,
        }


class _Ended(Exception):
    """Ends the task group when the context is left."""
