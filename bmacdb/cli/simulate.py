"""`bmacdb simulate`: a stand-in exchange to point `bmacdb run` at."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from bmacdb.errors import UsageError, did_you_mean
from bmacdb.model import Market

if TYPE_CHECKING:
    from bmacdb.simulated import SimulatedExchange

__all__ = ["register"]

_FORMATS = ("text", "json")
_FEEDS = {Market.SPOT: "usdt_spot_1m", Market.USDT_FUTURES: "usdt_perp_1m", Market.COIN_FUTURES: "coin_perp_1m"}


def simulate(
    port: Annotated[
        int, typer.Option(help="First of four ports on loopback: of all markets, spot, USD-M, COIN-M. 0: free ones.")
    ] = 0,
    speed: Annotated[float, typer.Option(help="How many times faster than real time its clock runs.")] = 1.0,
    symbols: Annotated[int, typer.Option(help="Trading symbols of each market's main trade type.")] = 20,
    market: Annotated[
        list[str] | None, typer.Option(help="spot, usdt_futures or coin_futures; may repeat. All by default.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed makes other candles, and other chances for faults.")] = 0,
    updates: Annotated[float, typer.Option(help="Updates of the open bar, per stream and real second.")] = 0.0,
    start: Annotated[
        str | None, typer.Option(metavar="TIME", help="Where its clock starts: ISO 8601 (UTC) or milliseconds. Now.")
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FAULT",
            help="What goes wrong: KIND[:PROBABILITY][,NAME=VALUE...], as lost:0.05 or "
            "dies,after=60,refuse_seconds=30; may repeat. --fault help lists them.",
        ),
    ] = None,
    replay: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH", help="Archive klines (csv, zip, gz, parquet; or a directory) to replay as of now."
        ),
    ] = None,
    coin_paths: Annotated[
        str, typer.Option(metavar="NAME", help="Paths on which COIN-M's websockets send: both, routed, unrouted.")
    ] = "both",
    output: Annotated[str, typer.Option("--format", help="text, or json: one line for a program to read.")] = "text",
    die_with_parent: Annotated[bool, typer.Option(hidden=True, help="End when standard input closes.")] = False,
) -> None:
    """Run a stand-in exchange on loopback: REST and websockets of all three markets, with the real one's rules.

    Each market has an address of its own, for any client; point a recorder at it with the command that it prints.
    It ends on Ctrl-C and then tells what it did.
    """
    from bmacdb.clock import SystemClock
    from bmacdb.simulated import SimulatedExchange, parse_fault
    from bmacdb.simulated.faults import KINDS, Event, Mishap
    from bmacdb.simulated.hosts import CoinPaths

    if output not in _FORMATS:
        raise UsageError(f"--format {output!r} is not one of {', '.join(_FORMATS)}.{did_you_mean(output, _FORMATS)}")
    if "help" in (fault or ()):
        for kind, known in KINDS.items():
            common = [field.name for field in fields(Mishap if issubclass(known, Mishap) else Event)]
            own = ", ".join(field.name for field in fields(known) if field.name not in common)
            print(f"{kind:10} {(known.__doc__ or '').splitlines()[0]}{f' ({own})' if own else ''}")
        return
    if coin_paths not in (ways := get_args(CoinPaths)):
        raise UsageError(
            f"--coin-paths {coin_paths!r} is not one of {', '.join(ways)}.{did_you_mean(coin_paths, ways)}"
        )
    _check("--port", port, 0, 65535 - len(Market))
    _check("--speed", speed, 0.01, 10_000)
    _check("--symbols", symbols, 1, 5000)
    _check("--updates", updates, 0, 1000)
    start_ms = SystemClock().now_ms() if start is None else _instant(start)
    markets = [_market(name) for name in market] if market else list(Market)
    exchange = SimulatedExchange(
        symbols=symbols,
        markets=markets,
        speed=speed,
        seed=seed,
        start_ms=start_ms,
        updates_per_second=updates,
        faults=[parse_fault(text, now_ms=start_ms) for text in fault or ()],
        replay=replay or (),
        coin_paths=cast(CoinPaths, coin_paths),
        port=port,
    )
    feed = _FEEDS[Market.USDT_FUTURES if Market.USDT_FUTURES in markets else markets[0]]
    asyncio.run(_serve(exchange, feed, output, die_with_parent))


def _check(option: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:  # NaN is refused as well
        raise UsageError(f"{option} {value:g} is not between {least:g} and {most:g}.")


def _market(name: str) -> Market:
    names = [market.value for market in Market]
    if name not in names:
        raise UsageError(f"--market {name!r} is not one of {', '.join(names)}.{did_you_mean(name, names)}")
    return Market(name)


def _instant(text: str) -> int:
    from datetime import datetime

    from bmacdb.clock import to_ms

    try:
        return int(text) if text.isdigit() else to_ms(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        raise UsageError(f"--start {text!r} is no time: give 2026-11-23T12:00:00+00:00 or milliseconds.") from None


async def _serve(exchange: SimulatedExchange, feed: str, output: str, die_with_parent: bool) -> None:
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    _on_signals(loop, ending)
    if die_with_parent:
        threading.Thread(target=_wait_for_parent, args=(loop, ending), daemon=True, name="parent").start()
    async with exchange:
        _greet(exchange, feed, output)
        await exchange.wait(ending)
    _sum_up(exchange, output)


def _on_signals(loop: asyncio.AbstractEventLoop, ending: asyncio.Event) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, ending.set)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(ending.set))


def _wait_for_parent(loop: asyncio.AbstractEventLoop, ending: asyncio.Event) -> None:
    try:
        while os.read(sys.stdin.fileno(), 4096):
            pass
    except (OSError, ValueError):  # closed already
        pass
    loop.call_soon_threadsafe(ending.set)


def _greet(exchange: SimulatedExchange, feed: str, output: str) -> None:
    if output == "json":
        told = {
            "rest_url": exchange.rest_url,
            "ws_url": exchange.ws_url,
            "markets": {
                market.value: {"rest_url": exchange.rest_urls[market], "ws_url": exchange.ws_urls[market]}
                for market in Market
            },
            "archive_url": exchange.archive_url,
            "speed": exchange.speed,
            "pid": os.getpid(),
            "start_ms": exchange.start_ms,
            "seed": exchange.seed,
        }
        print(json.dumps(told), flush=True)
        return
    hosts = "\n".join(f"  {market:14}{exchange.rest_urls[market]}  {exchange.ws_urls[market]}" for market in Market)
    rate = "" if exchange.speed == 1 else f" --clock-rate {exchange.speed:g}"
    print(
        f"A stand-in exchange listens at {exchange.rest_url}. Point a recorder at it:\n\n"
        f"  bmacdb run --feed {feed} --rest-url {exchange.rest_url} --ws-url {exchange.ws_url}{rate}\n\n"
        f"Other clients find each market at an address of its own, with the exchange's paths:\n\n{hosts}\n\n"
        f"Its archive, for bmacdb history, is at --archive-url {exchange.archive_url}. Ctrl-C ends it.",
        flush=True,
    )


def _sum_up(exchange: SimulatedExchange, output: str) -> None:
    summary = exchange.summary()
    if output == "json":
        print(json.dumps({"event": "stopped", **summary}), file=sys.stderr)
        return
    shown = ("requests", "by_status", "closing_frames", "update_frames", "connections_made", "weight", "faults")
    print("\n" + "\n".join(f"{name.replace('_', ' ')}: {summary[name]}" for name in shown), file=sys.stderr)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(simulate)
