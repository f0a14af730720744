"""`bmacdb receive`: one set of connections to the exchange, for any number of recorders on this machine."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bmacdb.cli.options import GroupedCommand, settings_options
from bmacdb.model import Market

if TYPE_CHECKING:
    from bmacdb.config import Settings

__all__ = ["register"]

_KINDS = ("rest_url", "ws_url")
_ADDRESSES = (*_KINDS, *(f"{market}_{kind}" for market in Market for kind in _KINDS))


@settings_options(*_ADDRESSES, "proxy", "clock_rate")
def receive(
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR",
            help="May hold bmacdb.toml, for the addresses of the exchange [default: the working directory].",
            show_default=False,
        ),
    ] = None,
    *,
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="N", help="Port on loopback; 0: a free one [default: 9740].")
    ] = 9740,
    **flags: object,
) -> None:
    """Receive the market for other processes: REST and websockets as the exchange has them, on this machine alone.

    It writes nothing. Recorders take from it with bmacdb record --from http://127.0.0.1:9740: http:// and not tcp://,
    as it speaks the exchange's own protocol, so that any client of the exchange can use it. Each stream is subscribed
    to once, however many want it. For clients on another machine make an SSH tunnel.
    """
    from bmacdb.config import load_settings

    asyncio.run(_serve(load_settings(directory, flags, instead=("usdt_perp_5m",)), port))


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def _serve(settings: Settings, port: int) -> None:
    from aiohttp import web

    from bmacdb.errors import UsageError
    from bmacdb.exchange.endpoints import Endpoints
    from bmacdb.exchange.relay import LOOPBACK, Relay
    from bmacdb.exchange.session import open_session

    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, ending.set)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(ending.set))
    endpoints = Endpoints.of(settings)
    async with open_session(timeout_s=30.0, endpoints=endpoints, proxy=settings.proxy) as session:
        relay = Relay(endpoints, session, proxy=settings.proxy, clock_rate=settings.clock_rate, log=_log)
        runner = web.AppRunner(relay.app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            try:
                await web.TCPSite(runner, LOOPBACK, port).start()
            except OSError as error:
                raise UsageError(
                    f"--port {port} is not free ({error.strerror}). Is a receiver running already? Name another one."
                ) from None
            url = f"http://{LOOPBACK}:{runner.addresses[0][1]}"
            print(f"Receiving at {url}. Record from it: bmacdb record --from {url}. Ctrl-C ends it.", flush=True)
            await ending.wait()
        finally:
            await runner.cleanup()


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(cls=GroupedCommand)(receive)
