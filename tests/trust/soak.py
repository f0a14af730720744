"""Soak: a simulated day of minutes with background faults on the accelerated clock; what the process holds is watched.

python -m tests.trust.soak                          a day of 300 symbols, as fast as the machine stands
python -m tests.trust.soak --periods 60 --symbols 100 --speed 60
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import duckdb
import psutil

from bmacdb.cli.lean import without_pandas
from bmacdb.cli.rehearsal import StandIn, stand_in
from bmacdb.clock import to_ms
from bmacdb.config import load_settings
from bmacdb.recorder.events import Event, Notice, RunComplete, RunLate
from bmacdb.recorder.run import record
from bmacdb.symbols import parse_feed

from .ledger import untruths

__all__ = ["Samples", "main", "soak"]

FEED = "usdt_perp_1m"
SETTLED = 0.25  # of the run: caches and buffers fill up before
BYTES_A_CANDLE = (30, 150)
"""What the file grows by: 40 bytes a candle, some 20 its readiness, and half-filled blocks."""

LONG = 300  # periods from which growth says something

_BACKGROUND = (
    "lost:0.01",
    "late:0.01,seconds=20",
    "doubled:0.02",
    "swapped:0.005",
    "garbage:0.005",
    "rest:0.02,status=503",
    "truncated:0.01",
    "stale:0.05,seconds=10",
    "forming:0.1",
)
"""All the time."""

_NOW_AND_THEN = (
    "dies:0.3,for=60",
    "dies:1,for=60,refuse_seconds=20",
    "silent:0.3,for=300",
    "mute:0.1,for=300",
    "rest:1,status=429,retry_after=10,times=1",
    "rest:1,status=418,retry_after=20,times=1",
    "refused:1,rest=true,for=30",
)
"""One of them every forty periods or so."""


@dataclass
class Samples:
    """What the process held at each complete period."""

    period: list[int] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    tasks: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    late_ms: list[int] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)
    late_periods: int = 0
    notices: list[str] = field(default_factory=list)

    def slope(self, values: list[float] | list[int]) -> float:
        """Least squares over the settled part, per 1000 periods."""
        start = round(len(self.period) * SETTLED)
        if len(self.period) - start < 3:
            return float("nan")
        return 1000 * statistics.linear_regression(self.period[start:], values[start:]).slope

    def settled(self, values: list[int]) -> list[int]:
        return values[round(len(values) * SETTLED) :]


class _Watch:
    """Takes the recorder's events and samples the process, with every complete period."""

    def __init__(self, database: Path) -> None:
        self.samples = Samples()
        self._database = database
        self._process = psutil.Process()
        self._files = self._process.num_handles if sys.platform == "win32" else self._process.num_fds

    def __call__(self, event: Event) -> None:
        samples = self.samples
        match event:
            case RunComplete():
                samples.period.append(len(samples.period))
                samples.rss_mb.append(self._process.memory_info().rss / 1e6)
                samples.tasks.append(len(asyncio.all_tasks()))
                samples.threads.append(threading.active_count())
                samples.files.append(self._files())
                samples.late_ms.append(event.late_ms)
                samples.bytes.append(self._database.stat().st_size)  # never opened: its lock would be lost
            case RunLate():
                samples.late_periods += 1
            case Notice():
                samples.notices.append(f"{event.severity}: {event.text}")
            case _:
                pass


async def _disturb(exchange: StandIn, seed: int, period_s: float) -> None:
    """Background faults, and now and then a worse one, until cancelled."""
    dice = random.Random(seed)
    async with aiohttp.ClientSession(exchange.rest_url) as session:
        await session.post("/_control/faults", json=list(_BACKGROUND))
        while True:
            await asyncio.sleep(period_s * dice.uniform(20, 60))
            await session.post("/_control/faults", json=[dice.choice(_NOW_AND_THEN)])


async def _calm(exchange: StandIn) -> None:
    async with aiohttp.ClientSession(exchange.rest_url) as session:
        await session.delete("/_control/faults")


async def _stats(exchange: StandIn) -> dict[str, object]:
    async with aiohttp.ClientSession(exchange.rest_url) as session, session.get("/_control/stats") as answer:
        return json.loads(await answer.read())  # type: ignore[no-any-return]


async def _disagreements(exchange: StandIn, path: Path, num_candles: int) -> tuple[int, list[str]]:
    """How many rows the file has, and every symbol whose rows are not the exchange's own, over HTTP."""
    feed, found, total = parse_feed(FEED), [], 0
    with duckdb.connect(str(path), read_only=True) as connection:
        mine = connection.execute(
            "SELECT symbol, epoch_ms(open_time), open, high, low, close, volume, quote_volume, trade_num, "
            "taker_buy_base_asset_volume, taker_buy_quote_asset_volume "
            f"FROM {FEED}.candles ORDER BY symbol, open_time"
        ).fetchall()
        ((first, last),) = connection.execute(
            f"SELECT min(run_time), max(run_time) FILTER (complete_at IS NOT NULL) FROM {FEED}.runs"
        ).fetchall()
    window_ms, last_ms = feed.interval.shift(to_ms(first), -num_candles), to_ms(last)
    by_symbol: dict[str, list[tuple[object, ...]]] = {}
    for symbol, *row in mine:
        by_symbol.setdefault(symbol, []).append(tuple(row))
    async with aiohttp.ClientSession(exchange.rest_url) as session:
        for symbol, rows in by_symbol.items():
            total += len(rows)
            parameters = {
                "market": str(feed.market),
                "symbol": symbol,
                "interval": feed.interval.name,
                "start": str(min(window_ms, int(str(rows[0][0])))),
                "end": str(max(last_ms, int(str(rows[-1][0])) + 1)),
            }
            async with session.get("/_control/expected", params=parameters) as answer:
                bars = json.loads(await answer.read())
            keys = {row[0] for row in rows}
            if len(keys) != len(rows):
                found.append(f"{symbol}: {len(rows) - len(keys)} rows twice")
            if lost := [bar[0] for bar in bars if bar[0] not in keys]:
                found.append(f"{symbol}: {len(lost)} rows lost, the first opens at {lost[0]}")
            theirs = {(*bar[:6], *bar[7:]) for bar in bars}  # without the close time
            if wrong := [row for row in rows if row not in theirs]:
                found.append(f"{symbol}: {len(wrong)} rows are not the exchange's: {wrong[0]}")
    return total, found


async def soak(
    directory: Path, exchange: StandIn, *, periods: int, speed: float, seed: int | None, num_candles: int
) -> tuple[Samples, float]:
    """Record `periods` periods under faults (seed None: undisturbed); returns samples and the seconds that it took."""
    watch = _Watch(directory / "bmac.duckdb")
    settings = load_settings(
        directory,
        {
            "feeds": (FEED,),
            "num_candles": str(num_candles),
            "periods": str(periods),
            "rest_url": exchange.rest_url,
            "ws_url": exchange.ws_url,
            "clock_rate": str(speed),
        },
        {},
    )
    started = time.perf_counter()
    disturbing = asyncio.create_task(_calm(exchange) if seed is None else _disturb(exchange, seed, 60 / speed))
    try:
        await record(settings, watch)
    finally:
        disturbing.cancel()
        await asyncio.wait({disturbing})
    return watch.samples, time.perf_counter() - started


def _complaints(samples: Samples, *, weight: dict[str, int], left: int, growth: float) -> list[str]:
    found = []
    if (slope := samples.slope(samples.rss_mb)) > 20 and slope * len(samples.period) / 1000 > 10:
        found.append(f"memory grows by {slope:.1f} MB in 1000 periods")
    for name, values in (("tasks", samples.tasks), ("threads", samples.threads), ("open files", samples.files)):
        settled = samples.settled(values)
        half = len(settled) // 2
        if half > 5 and min(settled[half:]) > max(settled[:half]):
            more = f"{max(settled[:half])} at most in the first half, never below {min(settled[half:])} in the second"
            found.append(f"{name} grow: {more}")
    if weight["most_a_minute"] > weight["limit"]:
        found.append(f"weight {weight['most_a_minute']} of {weight['limit']}")
    if left:
        found.append(f"{left} tasks are left behind")
    least, most = BYTES_A_CANDLE
    if len(samples.period) >= LONG and not least <= growth <= most:
        found.append(f"the file grows by {growth:.0f} bytes a candle, {least} to {most} were computed")
    return found


async def _run(arguments: argparse.Namespace, directory: Path, exchange: StandIn) -> list[str]:
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    samples, seconds = await soak(
        directory,
        exchange,
        periods=arguments.periods,
        speed=arguments.speed,
        seed=arguments.seed,
        num_candles=arguments.candles,
    )
    left = len(asyncio.all_tasks()) - 1
    await _calm(exchange)
    # What was still owed when it ended is repaired by a second recorder at its start.
    await soak(directory, exchange, periods=3, speed=arguments.speed, seed=None, num_candles=arguments.candles)
    path = directory / "bmac.duckdb"
    rows, complaints = await _disagreements(exchange, path, arguments.candles)
    stats = await _stats(exchange)
    weight = stats["weight"]["futures"]  # type: ignore[index]
    growth = samples.slope(samples.bytes) / 1000 / arguments.symbols
    late_ms = sorted(samples.late_ms)
    figures: dict[str, object] = {
        "seed": arguments.seed,
        "symbols, periods, speed": (arguments.symbols, len(samples.period), arguments.speed),
        "real seconds": round(seconds, 1),
        "rows held against the exchange": rows,
        "symbols that disagree": len(complaints),
        "faults that struck": stats["faults"],
        "answers by status": stats["by_status"],
        "connections made": stats["connections_made"],
        "periods past the deadline": samples.late_periods,
        "boundary to complete, s, median and most": (late_ms[len(late_ms) // 2] / 1000, late_ms[-1] / 1000),
        "weight in the fullest minute": f"{weight['most_a_minute']} of {weight['limit']}",
        "resident MB, at first, most, last": (samples.rss_mb[0], max(samples.rss_mb), samples.rss_mb[-1]),
        "memory slope, MB in 1000 periods": round(samples.slope(samples.rss_mb), 2),
        "tasks, least and most": (min(samples.settled(samples.tasks)), max(samples.settled(samples.tasks))),
        "threads, least and most": (min(samples.settled(samples.threads)), max(samples.settled(samples.threads))),
        "open files, least and most": (min(samples.settled(samples.files)), max(samples.settled(samples.files))),
        "tasks left at the end": left,
        "file, MB": round(path.stat().st_size / 1e6, 2),
        "growth of the file, bytes a candle": round(growth, 1),
    }
    for name, value in figures.items():
        print(f"{name:45} {value}", flush=True)
    complaints += _complaints(samples, weight=weight, left=left, growth=growth)
    return complaints + untruths(path, FEED, slack_ms=round(2000 + 1000 * arguments.speed))


def main(words: list[str] | None = None) -> int:
    """Run it and print what came of it; 1 when something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=300)
    parser.add_argument("--periods", type=int, default=1440)
    parser.add_argument("--speed", type=float, default=90.0)
    parser.add_argument("--candles", type=int, default=120, help="of history before the first run time")
    parser.add_argument("--seed", type=int, default=11)
    arguments = parser.parse_args(words)
    told = ["--symbols", str(arguments.symbols), "--seed", str(arguments.seed), "--market", "usdt_futures"]
    with (
        tempfile.TemporaryDirectory(prefix="bmacdb-soak-") as directory,
        stand_in(speed=arguments.speed, arguments=told) as exchange,
        without_pandas(),
    ):
        complaints = asyncio.run(_run(arguments, Path(directory), exchange))
    for complaint in complaints[:20]:
        print(f"WRONG (seed {arguments.seed}): {complaint}")
    print("FAILED" if complaints else "ok")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
