"""kill -9 at random moments: nothing that was told is lost, nothing is there twice, a restart repairs the rest."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from bmacdb.clock import to_ms
from bmacdb.simulated import SimulatedExchange
from tests.acceptance.support import Recorder, agrees, query

from .ledger import untruths, unvouched

__all__ = ["MOMENTS", "Crashes", "crash"]

FEED = "usdt_perp_1m"
MOMENTS = ("start", "history", "closing", "live", "checkpoint")
"""Anywhere in the start; within the rounds of history; while a market closes; anywhere; while the end checkpoints."""


@dataclass
class Crashes:
    """What `crash` did to one file."""

    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    with_log: int = 0  # kills that left a write-ahead log to recover from
    rows: int = 0
    requests: int = 0
    complaints: list[str] = field(default_factory=list)


async def crash(
    directory: Path,
    *,
    seed: int,
    kills: int,
    symbols: int = 20,
    num_candles: int = 1000,
    told_of: Callable[[str], None] = lambda _: None,
) -> Crashes:
    """Kill the recorder of one file `kills` times, look at the file each time, and let it end well at last.

    `told_of` hears of each kill.
    """
    done, moments = Crashes(seed), random.Random(seed)
    arguments = ["--feed", FEED, "--num-candles", str(num_candles)]
    async with SimulatedExchange(symbols=symbols, speed=30.0, seed=seed, updates_per_second=2.0) as exchange:
        seen: set[tuple[object, ...]] = set()
        told: set[str] = set()
        for number in range(kills):
            moment = "history" if number < 2 else MOMENTS[number % len(MOMENTS)]
            async with Recorder(exchange, directory, arguments) as recorder:
                await _until(moment, recorder, moments)
                assert recorder.process is not None
                if recorder.process.returncode is None:
                    recorder.process.kill()
            done.kills[moment] += 1
            told_of(f"seed {seed}: kill {number + 1} of {kills} ({moment}), {len(seen)} rows seen before")
            done.with_log += recorder.log_left()
            told |= {_instant(event["run_time"]) for event in recorder.told("run_complete")}
            if not recorder.database.exists():
                continue
            found = await asyncio.to_thread(_rows, recorder.database)
            if found is None:  # killed before the feed was there
                continue
            problems = await asyncio.to_thread(unvouched, recorder.database, FEED, told)
            if vanished := seen - found:
                problems.append(f"{len(vanished)} rows that were there are gone: {sorted(vanished, key=str)[:3]}")
            seen = found
            done.complaints += (found_now := [f"kill {number} ({moment}): {problem}" for problem in problems])
            for problem in found_now:
                told_of(f"seed {seed}: WRONG: {problem}")
        async with Recorder(exchange, directory, [*arguments, "--periods", "2"]) as recorder:
            if (status := await recorder.ended()) != 0:
                done.complaints.append(f"the restart ended with {status}: {recorder.story()}")
                return done
        done.requests = exchange.stats.requests
        try:
            done.rows = agrees(exchange, recorder.database, FEED, num_candles=num_candles)
        except AssertionError as error:
            done.complaints.append(f"after the restart: {str(error).splitlines()[0]}")
        done.complaints += untruths(recorder.database, FEED, slack_ms=20_000, named_early=True)
    return done


async def _until(moment: str, recorder: Recorder, moments: random.Random) -> None:
    """Wait for the moment to kill."""
    match moment:
        case "start":
            await asyncio.sleep(moments.uniform(0.2, 1.5))
        case "history":
            await recorder.until("history_planned")
            await asyncio.sleep(moments.uniform(0.0, 0.5))
        case "closing":
            await recorder.until("run_started")
            await asyncio.sleep(moments.uniform(0.0, 0.2))
        case "live":
            await recorder.until("listen_group")
            await asyncio.sleep(moments.uniform(0.0, 3.0))
        case _:
            await recorder.until("run_complete")
            assert recorder.process is not None
            recorder.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(moments.uniform(0.0, 0.15))


def _rows(path: Path) -> set[tuple[object, ...]] | None:
    """The keys of every candle and every ready item; None where the file has no feed yet."""
    if not query(path, "SELECT 1 FROM duckdb_tables() WHERE schema_name = ? AND table_name = 'candles'", FEED):
        return None
    candles = query(path, f"SELECT symbol, epoch_ms(open_time) FROM {FEED}.candles")
    return {*candles, *query(path, f"SELECT 'ready', item, epoch_ms(run_time) FROM {FEED}.run_status")}


def _instant(text: object) -> str:
    return str(to_ms(datetime.fromisoformat(str(text))))
