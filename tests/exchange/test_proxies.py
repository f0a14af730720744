"""The recorder behind proxies, blocked and shut out: at the exchange's own host names, as its users start it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from bmacdb.model import Market
from bmacdb.simulated import SimulatedExchange
from bmacdb.simulated.faults import Blocked
from bmacdb.simulated.hosts import CoinPaths

from .proxies import Proxy, http_proxy, socks_proxy, tls_hosts

MIRRORS = "data-api.binance.vision", "data-stream.binance.vision"


class Recorder:
    """`bmacdb run` as a process, with its log."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []

    def notices(self, topic: str) -> list[str]:
        return [event["text"] for event in self.events if event["event"] == "notice" and event["topic"] == topic]

    async def until(self, condition: Callable[[], object]) -> None:
        assert self.process.stderr is not None
        while not condition():
            line = await self.process.stderr.readline()
            assert line, f"it ended: {self.events[-5:]}"
            if line.startswith(b"{"):
                self.events.append(json.loads(line))
            else:
                self.events.append({"event": "text", "text": line.decode()})

    async def until_complete(self, *feeds: str) -> None:
        """Until each feed has a run time for which all symbols came."""
        await self.until(lambda: {e["feed"] for e in self.events if e["event"] == "run_complete"}.issuperset(feeds))


@asynccontextmanager
async def recording(
    directory: Path, exchange: SimulatedExchange, *arguments: str, environ: Mapping[str, str] | None = None
) -> AsyncIterator[Recorder]:
    clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bmacdb.cli.main", "run", str(directory), "--log-format", "json"),
        *("--num-candles", "5", "--num-socket-listeners", "2", "--clock-rate", str(exchange.speed), *arguments),
        stderr=asyncio.subprocess.PIPE,
        env=clean | dict(environ or {}),
    )
    try:
        yield Recorder(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


@asynccontextmanager
async def behind(
    proxy: Callable[[Mapping[tuple[str, int], int]], Any], directory: Path, *, forbidden: bool = False, shut: int = 0
) -> AsyncIterator[tuple[SimulatedExchange, Proxy, Path]]:
    """A stand-in that is reached as the exchange is, through a proxy alone. `forbidden`: spot answers with 451, but for
    its mirrors; `shut`: a port that the proxy does not let through."""
    async with SimulatedExchange(symbols=3, speed=10.0) as exchange:
        rest, ws = exchange.rest_urls, exchange.ws_urls
        hosts: dict[str, int | None] = {
            "api.binance.com": None if forbidden else port_of(rest[Market.SPOT]),
            "stream.binance.com": None if forbidden else port_of(ws[Market.SPOT]),
            "fapi.binance.com": port_of(rest[Market.USDT_FUTURES]),
            "fstream.binance.com": port_of(ws[Market.USDT_FUTURES]),
            MIRRORS[0]: port_of(rest[Market.SPOT]),
            MIRRORS[1]: port_of(ws[Market.SPOT]),
        }
        async with tls_hosts(hosts, directory) as (trusted, ports):
            routes = {(host, 443): port for host, port in ports.items()}
            routes["stream.binance.com", 9443] = ports["stream.binance.com"]
            routes = {at: to for at, to in routes.items() if at[1] != shut}
            async with proxy(routes) as between:
                yield exchange, between, trusted


@pytest.mark.parametrize("kind", ["http", "socks5h"])
async def test_everything_goes_through_the_proxy_and_443_takes_the_place_of_9443(tmp_path: Path, kind: str) -> None:
    """REST and websockets of two markets, from HTTPS_PROXY or ALL_PROXY; the proxy looks the names up."""
    proxy = http_proxy if kind == "http" else socks_proxy
    async with behind(proxy, tmp_path, shut=9443) as (exchange, between, trusted):
        environ = {"HTTPS_PROXY" if kind == "http" else "ALL_PROXY": f"{kind}://127.0.0.1:{between.port}"}
        environ["SSL_CERT_FILE"] = str(trusted)
        feeds = ("usdt_spot_1m", "usdt_perp_1m")
        arguments = [part for feed in feeds for part in ("--feed", feed)]
        async with recording(tmp_path, exchange, *arguments, environ=environ) as recorder:
            await recorder.until_complete(*feeds)
            await recorder.until(lambda: ("stream.binance.com", 443) in between.asked)
            (told,) = recorder.notices("address")
            assert "9443/stream cannot be reached: wss://stream.binance.com:443/stream is tried" in told
            await recorder.until(lambda: exchange.stats.connections == 4)
        assert {host for host, _ in between.asked} == {
            *("api.binance.com", "stream.binance.com", "fapi.binance.com", "fstream.binance.com")
        }


async def test_where_the_law_forbids_spot_its_mirrors_serve_and_futures_go_on(tmp_path: Path) -> None:
    """HTTP 451 from spot's hosts alone: told once, and nothing has to be configured."""
    async with behind(http_proxy, tmp_path, forbidden=True) as (exchange, between, trusted):
        environ = {"HTTPS_PROXY": f"http://127.0.0.1:{between.port}", "SSL_CERT_FILE": str(trusted)}
        feeds = ("usdt_spot_1m", "usdt_perp_1m")
        arguments = [part for feed in feeds for part in ("--feed", feed)]
        async with recording(tmp_path, exchange, *arguments, environ=environ) as recorder:
            await recorder.until_complete(*feeds)
            await recorder.until(lambda: exchange.stats.connections == 4)
            assert len(recorder.notices("address")) == 2
        asked = [host for host, _ in between.asked]
        assert asked.count("api.binance.com") <= 2  # a connection may be closed before its answer is read
        assert "stream.binance.com" not in asked
        assert set(MIRRORS) < set(asked)


async def test_a_proxy_that_refuses_is_told_without_its_password(tmp_path: Path) -> None:
    async with (
        SimulatedExchange(symbols=2) as exchange,
        socks_proxy({}, password="right") as proxy,
    ):
        address = f"socks5h://user:hunter2@127.0.0.1:{proxy.port}"
        arguments = ("--feed", "usdt_perp_1m", "--proxy", address)
        async with recording(tmp_path, exchange, *arguments) as recorder:
            await recorder.until(lambda: recorder.notices("rest"))
        assert "SOCKS" in recorder.notices("rest")[0]
        assert "hunter2" not in json.dumps(recorder.events)


@pytest.mark.parametrize("path", ["routed", "unrouted"])
async def test_coin_futures_are_heard_on_the_path_that_sends(tmp_path: Path, path: CoinPaths) -> None:
    """The silent one acknowledges; REST has bars with trades meanwhile."""
    async with SimulatedExchange(symbols=3, speed=15.0, coin_paths=path) as exchange:
        arguments = ("--coin-futures-rest-url", exchange.rest_urls[Market.COIN_FUTURES])
        arguments += ("--coin-futures-ws-url", exchange.ws_urls[Market.COIN_FUTURES], "--feed", "coin_perp_1m")
        async with recording(tmp_path, exchange, *arguments) as recorder:
            await recorder.until(
                lambda: any(e["event"] == "run_complete" and not e["repaired"] for e in recorder.events)
            )
            recorder.process.terminate()
            await recorder.process.communicate()
        told = recorder.notices("address")
        assert len(told) == (path == "unrouted")
        assert all("/market/stream acknowledges streams and sends nothing" in text for text in told)
        if path == "unrouted":
            connected = exchange.stats.connections_made
            async with recording(tmp_path, exchange, *arguments) as again:
                await again.until(lambda: exchange.stats.connections_made == connected + 2)
                await again.until_complete("coin_perp_1m")
            first = "".join(again.notices("address")[:1])
            assert "/market/stream acknowledges" not in first, "the path that sends is remembered"


async def test_a_firewall_at_the_start_is_waited_for(tmp_path: Path) -> None:
    """403 to everything for two minutes: told with its pause, and then recorded."""
    async with SimulatedExchange(symbols=2, speed=30.0) as exchange:
        exchange.inject(Blocked(status=403, until_ms=exchange.clock.now_ms() + 120_000))
        arguments = ("--rest-url", exchange.rest_url, "--ws-url", exchange.ws_url, "--feed", "usdt_perp_1m")
        async with recording(tmp_path, exchange, *arguments) as recorder:
            await recorder.until_complete("usdt_perp_1m")
        assert "403" in recorder.notices("rest")[0]
        assert exchange.stats.faults["blocked"] <= 10
