"""The whole recorder against the stand-in exchange: how late, how heavy, how fast.

    python -m benchmarks.recorder                     600 symbols x 1500 candles, 20 periods
    python -m benchmarks.recorder --updates 4         the same with 2,400 unclosed frames a second
    python -m benchmarks.recorder --periods 500 --speed 60

The stand-in runs as a process of its own, with a clock that is `speed` times faster; times below are real ones.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil

from bmacdb.cli.lean import without_pandas
from bmacdb.config import load_settings
from bmacdb.recorder.events import Event, HistoryDone, RunComplete, RunLate
from bmacdb.recorder.run import record

__all__ = ["main"]


class Meter:
    """Takes the recorder's events and samples the process."""

    def __init__(self, speed: float) -> None:
        self.speed = speed
        self.process = psutil.Process()
        self.commit_ms: list[float] = []
        self.boundary_ms: list[float] = []
        self.cpu_s: list[float] = []
        self.rss_mb: list[float] = []
        self.lag_ms: list[float] = []
        self.live_lag_ms: list[float] = []
        self.late = 0
        self.history: HistoryDone | None = None
        self._cpu_before: float | None = None
        self._live = False

    def cpu(self) -> float:
        times = self.process.cpu_times()
        return times.user + times.system

    def report(self, event: Event) -> None:
        match event:
            case RunComplete():
                self._live = True
                self.commit_ms.append((event.at_ms - event.last_at_ms) / self.speed)
                self.boundary_ms.append((event.at_ms - event.run_time_ms) / self.speed)
                self.rss_mb.append(self.process.memory_info().rss / 1e6)
                now = self.cpu()
                if self._cpu_before is not None:
                    self.cpu_s.append(now - self._cpu_before)
                self._cpu_before = now
            case RunLate():
                self.late += 1
            case HistoryDone():
                self.history = self.history or event
            case _:
                pass

    async def watch_loop(self) -> None:
        """How much later than asked for the event loop wakes us."""
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.01)
            lag = (time.perf_counter() - before - 0.01) * 1000
            (self.live_lag_ms if self._live else self.lag_ms).append(lag)


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(round(share * len(values)), len(values) - 1)] if values else float("nan")


async def measure(arguments: argparse.Namespace, rest_url: str, ws_url: str, directory: Path) -> Meter:
    meter = Meter(arguments.speed)
    settings = load_settings(
        directory,
        {
            "feeds": (arguments.feed,),
            "num_candles": str(arguments.candles),
            "periods": str(arguments.periods),
            "rest_url": rest_url,
            "ws_url": ws_url,
            "clock_rate": str(arguments.speed),
        },
    )
    watching = asyncio.create_task(meter.watch_loop()) if arguments.watch_loop else None
    await record(settings, meter.report)
    if watching is not None:
        watching.cancel()
    return meter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--feed", default="usdt_perp_1m")
    parser.add_argument("--symbols", type=int, default=600)
    parser.add_argument("--candles", type=int, default=1500)
    parser.add_argument("--periods", type=int, default=20)
    parser.add_argument("--speed", type=float, default=12.0)
    parser.add_argument("--updates", type=float, default=0.0, help="unclosed frames per stream and second")
    parser.add_argument("--watch-loop", action="store_true", help="measure how late the event loop is (costs CPU)")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    arguments = parser.parse_args()
    command = [sys.executable, "-m", "bmacdb.cli.main", "simulate", "--port", "0", "--format", "json"]
    command += ["--speed", str(arguments.speed), "--symbols", str(arguments.symbols)]
    command += ["--updates", str(arguments.updates), "--die-with-parent"]
    with (
        tempfile.TemporaryDirectory() as directory,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child,
    ):
        assert child.stdout is not None
        told = json.loads(child.stdout.readline())
        started = time.perf_counter()
        with without_pandas():
            meter = asyncio.run(measure(arguments, told["rest_url"], told["ws_url"], Path(directory)))
        seconds = time.perf_counter() - started
        with urllib.request.urlopen(f"{told['rest_url']}/_control/stats") as answer:
            stats = json.load(answer)
        size = (Path(directory) / "bmac.duckdb").stat().st_size
        child.terminate()
    tell(arguments, meter, stats, size=size, seconds=seconds)


def weight_share(arguments: argparse.Namespace, stats: dict[str, object]) -> float:
    weight = stats["weight"]["spot" if "spot" in arguments.feed else "futures"]  # type: ignore[index]
    return float(weight["most_a_minute"]) / float(weight["limit"])


def tell(arguments: argparse.Namespace, meter: Meter, stats: dict[str, object], *, size: int, seconds: float) -> None:
    half = len(meter.rss_mb) // 2
    figures = {
        "symbols": arguments.symbols,
        "periods": len(meter.commit_ms),
        "periods late past the deadline": meter.late,
        "last closing frame -> market committed, ms, median": statistics.median(meter.commit_ms),
        "last closing frame -> market committed, ms, p99": percentile(meter.commit_ms, 0.99),
        "boundary -> market committed, ms, median": statistics.median(meter.boundary_ms),
        "CPU a period, s, median": statistics.median(meter.cpu_s) if meter.cpu_s else None,
        "CPU, share of a core": sum(meter.cpu_s) / (len(meter.cpu_s) * 60 / arguments.speed) if meter.cpu_s else None,
        "resident memory, MB, after the first period": meter.rss_mb[0],
        "resident memory, MB, most": max(meter.rss_mb),
        "resident memory, MB, second half minus first half": statistics.mean(meter.rss_mb[half:])
        - statistics.mean(meter.rss_mb[:half] or meter.rss_mb),
        "event loop late, ms, most during history": max(meter.lag_ms, default=None),
        "event loop late, ms, p99.9 live": percentile(meter.live_lag_ms, 0.999),
        "event loop late, ms, most live": max(meter.live_lag_ms, default=None),
        "history, s": meter.history and meter.history.seconds,
        "history, bars": meter.history and meter.history.fetched_bars,
        "weight used of the limit in the fullest minute": weight_share(arguments, stats),
        "file, MB": size / 1e6,
        "whole run, s": seconds,
        "exchange": stats,
    }
    for name, value in figures.items():
        print(f"{name:60} {value:.3f}" if isinstance(value, float) else f"{name:60} {value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
