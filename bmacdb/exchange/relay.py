"""The receiver: passes the exchange's REST answers and streams on to any number of clients of this machine.

It speaks the exchange's own protocol, so that a recorder heals and repairs through it as it does without it. When a
connection to the exchange ends, the clients that depend on it are disconnected too: they know what to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from yarl import URL

from bmacdb.clock import SystemClock
from bmacdb.errors import UsageError
from bmacdb.exchange.addresses import Addresses
from bmacdb.exchange.endpoints import REST_PATHS, Endpoints
from bmacdb.exchange.limit import connect_window
from bmacdb.exchange.session import describe, http_proxy
from bmacdb.exchange.upstream import Client, Upstreams
from bmacdb.model import Market

__all__ = ["GREETING", "LOOPBACK", "Relay", "receiver_addresses"]

LOOPBACK = "127.0.0.1"
GREETING = "/bmacdb/receiver"
"""Where a receiver says that it is one, as JSON: with the rate of the exchange's clock."""

_PREFIXES = {"api": Market.SPOT, "fapi": Market.USDT_FUTURES, "dapi": Market.COIN_FUTURES}
_PASSED_ON = ("content-type", "retry-after")
_GATHER_S = 0.01
_ANSWER_S = 30.0  # recorders give up sooner, and say so


def receiver_addresses(url: str) -> dict[str, str]:
    """The settings of a recorder that is to receive from `url`, as http://127.0.0.1:9740.

    Raises UsageError for another host than this machine, or anything else than http://host:port.
    """
    parts = urlsplit(url.strip())
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"receiver {url!r} is no URL ({error}); expected http://{LOOPBACK}:9740.") from None
    if parts.scheme != "http" or port is None or parts.path.strip("/") or parts.query or parts.username:
        raise UsageError(
            f"receiver {url!r} is not of the form http://{LOOPBACK}:9740. (It is http:// and not tcp://, as a receiver "
            "speaks the exchange's own protocol, REST and websockets.)"
        )
    if host not in (LOOPBACK, "localhost"):
        raise UsageError(
            f"receiver {url!r} is on another host; receivers serve their own machine alone, as what they send is "
            f"neither encrypted nor protected. Make a tunnel, ssh -N -L {port}:{LOOPBACK}:{port} {host}, and give "
            f"http://{LOOPBACK}:{port}."
        )
    streams = {f"{market}_ws_url": f"ws://{LOOPBACK}:{port}/{market}" for market in Market}
    return {"rest_url": f"http://{LOOPBACK}:{port}"} | streams


class Relay:
    """The web application of a receiver; `session` is for its own requests to the exchange."""

    def __init__(
        self,
        endpoints: Endpoints,
        session: aiohttp.ClientSession,
        *,
        proxy: str | None = None,
        clock_rate: float = 1.0,
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._session, self._proxy, self._rate, self._log = session, http_proxy(proxy), clock_rate, log
        self._addresses = {market: Addresses(market, endpoints, told=log) for market in Market}
        self.clients: set[Client] = set()
        self._questions: dict[str, asyncio.Task[web.Response]] = {}
        connects = connect_window(SystemClock())
        self._upstreams = {
            market: Upstreams(addresses, session, connects, self._proxy, log)
            for market, addresses in self._addresses.items()
        }
        self.app = web.Application()
        self.app.router.add_get(GREETING, self._greet)
        for market in Market:
            self.app.router.add_get(f"/{market}{{path:(/[a-z]+)?/stream}}", self._socket)
        self.app.router.add_get("/{prefix:api|fapi|dapi}/{path:.+}", self._rest)
        self.app.on_shutdown.append(self._close)

    async def _close(self, _: web.Application) -> None:
        for upstreams in self._upstreams.values():
            await upstreams.close()

    async def _greet(self, _: web.Request) -> web.Response:
        return web.json_response({"receiver": "bmacdb", "clock_rate": self._rate})

    async def _rest(self, request: web.Request) -> web.Response:
        """Ask the exchange, once for all who ask the same within a moment.

        Only questions that have not been sent yet are shared: an answer that was under way might be older than the
        candle that its second reader wants, and a time would be wrong.
        """
        target = request.rel_url.raw_path_qs
        market = _PREFIXES[request.match_info["prefix"]]
        if request.match_info["path"].endswith("/time"):
            return await self._ask(market, target)
        task = self._questions.get(target)
        if task is None:
            task = self._questions[target] = asyncio.create_task(self._gather(market, target))
        answer = await asyncio.shield(task)
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    async def _gather(self, market: Market, target: str) -> web.Response:
        await asyncio.sleep(_GATHER_S)
        del self._questions[target]
        return await self._ask(market, target)

    async def _ask(self, market: Market, target: str) -> web.Response:
        addresses = self._addresses[market]
        while True:
            base = addresses.rest
            host = base.removesuffix(REST_PATHS[market])
            try:
                async with self._session.get(
                    URL(host + target, encoded=True),
                    proxy=self._proxy,
                    timeout=aiohttp.ClientTimeout(total=_ANSWER_S),
                    allow_redirects=False,
                ) as response:
                    body = await response.read()
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                self._log(f"{market}: the exchange cannot be reached ({describe(error)})")
                return web.Response(status=502, text=f"the receiver cannot reach the exchange ({describe(error)})")
            if response.status == 451 and (addresses.rest != base or addresses.blocked(base)):
                continue
            headers = {
                name: value
                for name, value in response.headers.items()
                if name.lower() in _PASSED_ON or name.lower().startswith("x-mbx-")
            }
            return web.Response(status=response.status, body=body, headers=headers)

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        market = next(one for one in Market if request.path.startswith(f"/{one}/"))
        path = request.match_info["path"]
        refused = self._upstreams[market].resting()
        if refused is not None:
            return web.Response(status=503, text=refused)
        socket = web.WebSocketResponse(compress=False, heartbeat=20.0, max_msg_size=1 << 20)
        await socket.prepare(request)
        assert request.transport is not None  # prepare would have failed
        client = Client(socket, request.transport, self._upstreams[market], path)
        self.clients.add(client)
        try:
            await client.serve([name for name in request.query.get("streams", "").split("/") if name])
        finally:
            self.clients.discard(client)
        return socket
