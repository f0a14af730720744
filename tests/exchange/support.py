"""A loopback server that gives scripted answers, and clients that ask it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from bmacdb.clock import ServerClock
from bmacdb.exchange.addresses import Addresses
from bmacdb.exchange.endpoints import Endpoints
from bmacdb.exchange.limit import RequestWindow, WeightBudget
from bmacdb.exchange.rest import RestClient, open_session
from bmacdb.model import Market

__all__ = ["NOW_MS", "Answer", "ScriptedServer", "client_of", "fixed_clock", "serving"]

NOW_MS = 29_833_333 * 60_000 + 20_000


@dataclass(frozen=True)
class Answer:
    """What the server says: `body` as it is, or as JSON. `delay_s` before it, `torn` leaves half of it out; `hung_up`
    closes the connection instead."""

    body: object = b"[]"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    torn: bool = False
    hung_up: bool = False

    @property
    def data(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body, ensure_ascii=False).encode()


@dataclass
class ScriptedServer:
    """Gives `answers` one after another, then the last one for ever; or what `handler` makes of the query."""

    answers: list[Answer] = field(default_factory=lambda: [Answer()])
    handler: Callable[[dict[str, str]], Answer] | None = None
    url: str = ""
    paths: list[str] = field(default_factory=list)
    raw_paths: list[str] = field(default_factory=list)
    queries: list[dict[str, str]] = field(default_factory=list)
    peers: set[object] = field(default_factory=set)

    @property
    def endpoints(self) -> Endpoints:
        return Endpoints(self.url, self.url.replace("http", "ws"))

    async def serve(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        self.paths.append(request.path)
        self.raw_paths.append(request.raw_path)
        self.queries.append(dict(request.query))
        self.peers.add(request.transport.get_extra_info("peername"))
        if self.handler is not None:
            answer = self.handler(dict(request.query))
        else:
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer.delay_s:
            await asyncio.sleep(answer.delay_s)
        if answer.hung_up:
            request.transport.abort()
        if not answer.torn:
            return web.Response(body=answer.data, status=answer.status, headers=answer.headers)
        response = web.StreamResponse(status=answer.status, headers={"Content-Length": str(len(answer.data))})
        await response.prepare(request)
        await response.write(answer.data[: len(answer.data) // 2])
        request.transport.close()
        return response


@asynccontextmanager
async def serving(
    *answers: Answer, handler: Callable[[dict[str, str]], Answer] | None = None
) -> AsyncIterator[ScriptedServer]:
    """A scripted server on a free port of this machine."""
    server = ScriptedServer(list(answers) or [Answer()], handler)
    application = web.Application()
    application.router.add_get("/{path:.*}", server.serve)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        server.url = f"http://{host}:{port}"
        yield server
    finally:
        await runner.cleanup()


def fixed_clock(now_ms: int = NOW_MS) -> ServerClock:
    """A clock in step with the exchange's, which stands still."""
    clock = ServerClock(monotonic=lambda: 1000.0)
    clock.observe(now_ms, sent=1000.0, received=1000.0)
    return clock


@asynccontextmanager
async def client_of(
    server: ScriptedServer | Endpoints,
    market: Market = Market.USDT_FUTURES,
    *,
    clock: ServerClock | None = None,
    timeout_s: float = 5.0,
    proxy: str | None = None,
    session: aiohttp.ClientSession | None = None,
    addresses: Addresses | None = None,
) -> AsyncIterator[tuple[RestClient, WeightBudget]]:
    """A client of `server` and its budget."""
    endpoints = server.endpoints if isinstance(server, ScriptedServer) else server
    clock = clock or fixed_clock()
    budget = WeightBudget(2400, clock=clock)
    async with session or open_session(endpoints=endpoints, proxy=proxy) as session:
        yield (
            RestClient(
                market,
                endpoints=endpoints,
                session=session,
                clock=clock,
                budget=budget,
                funding_window=RequestWindow(clock=clock),
                timeout_s=timeout_s,
                proxy=proxy,
                addresses=addresses,
            ),
            budget,
        )
