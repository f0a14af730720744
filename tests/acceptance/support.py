"""The recorder as a process of its own, and its whole file against the stand-in exchange's own history."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from bmacdb.interval import Interval
from bmacdb.model import Feed
from bmacdb.simulated import SimulatedExchange
from bmacdb.symbols import parse_feed

__all__ = ["Recorder", "agrees", "query", "recorded"]

MINUTE = Interval.parse("1m")

_HELD = """
import sys
import bmacdb.cli.main, bmacdb.cli.run, bmacdb.recorder.run
print("ready", flush=True)
sys.stdin.readline()
sys.argv[0] = "bmacdb"
bmacdb.cli.main.main()
"""

Row = tuple[int, float, float, float, float, float, float, int, float, float]


@dataclass
class Recorder:
    """`bmacdb run` in `directory`, pointed at `exchange`; its events are kept as they are logged.

    With a `phase` it begins so many seconds after a minute of the exchange's time: imported and ready before, so that
    only a fraction of a real second passes until its first request.
    """

    exchange: SimulatedExchange
    directory: Path
    arguments: Sequence[str] = ()
    phase: float | None = None
    receiver: str | None = None
    events: list[dict[str, object]] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    process: asyncio.subprocess.Process | None = None

    @property
    def database(self) -> Path:
        return self.directory / "bmac.duckdb"

    async def __aenter__(self) -> Recorder:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            *(("-m", "bmacdb.cli.main") if self.phase is None else ("-c", _HELD)),
            *(self._run() if self.receiver is None else ("record", "--from", self.receiver)),
            *(str(self.directory), "--log-format", "json", *self.arguments),
            stdin=None if self.phase is None else asyncio.subprocess.PIPE,
            stdout=None if self.phase is None else asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=1 << 22,
        )
        if self.phase is not None:
            await self._let_go(self.phase)
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self._reading

    def _run(self) -> tuple[str, ...]:
        urls = ("--rest-url", self.exchange.rest_url, "--ws-url", self.exchange.ws_url)
        return "run", *urls, "--clock-rate", str(self.exchange.speed)

    async def _let_go(self, phase: float) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        await self.process.stdout.readline()
        clock = self.exchange.clock
        await clock.sleep_until(MINUTE.boundary_after(clock.now_ms()) + round(1000 * phase))
        self.process.stdin.write(b"\n")

    async def _read(self) -> None:
        assert self.process is not None
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            try:
                self.events.append(json.loads(line))
            except ValueError:
                self.other.append(line.decode())

    def told(self, name: str) -> list[dict[str, object]]:
        return [event for event in self.events if event["event"] == name]

    async def until(self, name: str, count: int = 1) -> None:
        """Wait for the `count`-th event of that name."""
        while len(self.told(name)) < count:
            assert self.process is not None
            assert self.process.returncode is None, self.story()
            await asyncio.sleep(0.01)

    async def until_whole(self) -> None:
        """Wait for a moment at which every run that has begun is complete."""
        while {e["run_time"] for e in self.told("run_started")} - {e["run_time"] for e in self.told("run_complete")}:
            assert self.process is not None
            assert self.process.returncode is None, self.story()
            await asyncio.sleep(0.01)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        assert self.process is not None
        status = await self.process.wait()
        await self._reading
        return status

    def log_left(self) -> bool:
        """Whether a write-ahead log lies beside the file."""
        return self.database.with_name(self.database.name + ".wal").exists()

    def story(self) -> str:
        return "\n".join([*map(str, self.events[-30:]), *self.other])


def query(path: Path, sql: str, *parameters: object) -> list[tuple[object, ...]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(sql, parameters).fetchall()


def recorded(path: Path, feed: str, symbol: str) -> list[Row]:
    """Every recorded bar of a symbol, oldest first, as the exchange would answer it."""
    return query(  # type: ignore[return-value]
        path,
        f"SELECT epoch_ms(open_time), open, high, low, close, volume, quote_volume, trade_num, "
        f"taker_buy_base_asset_volume, taker_buy_quote_asset_volume FROM {feed}.candles WHERE symbol = ? ORDER BY 1",
        symbol,
    )


def agrees(
    exchange: SimulatedExchange,
    path: Path,
    name: str,
    *,
    num_candles: int,
    absent: frozenset[tuple[str, int]] = frozenset(),
) -> int:
    """Hold the whole feed against the exchange, row by row; returns how many rows agree.

    Each symbol must have every bar that the exchange made, from `num_candles` before the first run time (or its first
    bar) to the last complete run time, once, with the exchange's values; save those in `absent`.
    """
    feed: Feed = parse_feed(name)
    interval: Interval = feed.interval
    ((first_run_ms, last_run_ms),) = query(
        path,
        f"SELECT epoch_ms(min(run_time)), epoch_ms(max(run_time) FILTER (complete_at IS NOT NULL)) FROM {name}.runs",
    )
    assert isinstance(first_run_ms, int)
    assert isinstance(last_run_ms, int)
    ((anchor_ms,),) = query(path, "SELECT epoch_ms(anchor) FROM feeds WHERE feed = ?", name)
    assert isinstance(anchor_ms, int)
    interval = interval.anchored(anchor_ms)
    symbols = [symbol for (symbol,) in query(path, f"SELECT DISTINCT symbol FROM {name}.candles")]
    window_start_ms = interval.shift(first_run_ms, -num_candles)
    total = 0
    for symbol in symbols:
        assert isinstance(symbol, str)
        mine = recorded(path, name, symbol)
        opens = [row[0] for row in mine]
        assert len(set(opens)) == len(opens), f"{symbol}: a bar is there twice"
        start_ms = min(opens[0], window_start_ms)
        theirs = exchange.expected(feed.market, symbol, feed.interval.name, start_ms, max(last_run_ms, opens[-1] + 1))
        expected = [
            (
                bar.open_time_ms,
                bar.open,
                bar.high,
                bar.low,
                bar.close,
                bar.volume,
                bar.quote_volume,
                bar.trade_num,
                bar.taker_buy_base_asset_volume,
                bar.taker_buy_quote_asset_volume,
            )
            for bar in theirs
            if bar.open_time_ms >= opens[0] and (symbol, bar.open_time_ms) not in absent
        ]
        assert mine == expected, f"{symbol}: {_difference(mine, expected)}"
        in_window = [bar for bar in theirs if bar.open_time_ms >= window_start_ms]
        assert not in_window or opens[0] <= in_window[0].open_time_ms, f"{symbol}: the window begins too late"
        total += len(mine)
    return total


def _difference(mine: Sequence[Row], theirs: Sequence[Row]) -> str:
    missing = {row[0] for row in theirs} - {row[0] for row in mine}
    surplus = {row[0] for row in mine} - {row[0] for row in theirs}
    wrong = set(mine) - set(theirs) if not missing and not surplus else set()
    return f"{len(missing)} missing {sorted(missing)[:3]}, {len(surplus)} too many {sorted(surplus)[:3]}, wrong {wrong}"
