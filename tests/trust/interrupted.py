"""kill -9 of commands that write: `bmacdb history import` and `bmacdb resample --store` on a file at rest.

Each is killed at random moments while it has the file; then the file must open, with every row that was there before,
nothing twice and nothing half; and the same command, let run to its end, must make what it makes undisturbed. The long
form is `just soak interrupted`; `python -m tests.trust.interrupted --help` tells of its parts.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import psutil

from bmacdb.clock import SystemClock
from bmacdb.offset import Resampling
from bmacdb.store.writer import Store
from bmacdb.symbols import parse_feed

__all__ = ["Interrupted", "bmacdb", "interrupt_imports", "interrupt_resampling"]

Told = Callable[[str], None]

MINUTES = parse_feed("usdt_perp_1m")
HOURS = Resampling.of(parse_feed("usdt_perp_5m"), "1h")
_STEP_MS = HOURS.feed.interval.length_ms
_START_MS = 1_735_689_600_000  # 2025-01-01
_VALUES = (
    "open, high, low, close, volume, quote_volume, trade_num, taker_buy_base_asset_volume, taker_buy_quote_asset_volume"
)
_BARS = f'symbol, open_time, "offset", {_VALUES}, vwap_1m, funding_rate, funding_price, funding_time'
_LOWEST = {"open": 10_000, "high": 11_000, "low": 9_000, "close": 10_000, "volume": 0, "quote_volume": 0}
_MADE_UP = ", ".join(
    f"({lowest} + hash(symbol, number, {place}) % 1000) / 100 AS {name}"
    for place, (name, lowest) in enumerate(_LOWEST.items())
)


@dataclass
class Interrupted:
    """What was done to one command; `at_work` of the kills came before it had ended."""

    what: str
    seed: int
    kills: int = 0
    at_work: int = 0
    partial: int = 0  # kills that left a part of what the command does
    rows: int = 0
    complaints: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.what}, seed {self.seed}: {self.kills} kills, {self.at_work} at work, {self.partial} left a part "
            f"done; {self.rows} rows in the end"
        )

    def looked(self, problems: list[str], told: Told) -> None:
        """Note what is wrong after a kill."""
        for problem in problems:
            self.complaints.append(f"{self.what}, seed {self.seed}, kill {self.kills}: {problem}")
            told(f"WRONG: {self.complaints[-1]}")


async def bmacdb(*arguments: str, **environment: str) -> asyncio.subprocess.Process:
    """`bmacdb …`, begun."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bmacdb.cli.main", *arguments),
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )


async def has_file(process: asyncio.subprocess.Process, path: Path) -> None:
    """Wait until a process has opened a file, or ended."""
    wanted = os.path.realpath(path)  # noqa: ASYNC240 - some microseconds
    while process.returncode is None:
        with suppress(psutil.Error):
            if any(one.path == wanted for one in psutil.Process(process.pid).open_files()):
                return
        await asyncio.sleep(0.005)


async def _undisturbed(arguments: tuple[str, ...], path: Path) -> float:
    """Run a command to its end; seconds that it had the file."""
    process = await bmacdb(*arguments)
    await has_file(process, path)
    began = time.monotonic()
    _, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return time.monotonic() - began


async def _killed(arguments: tuple[str, ...], path: Path, after: float) -> bool:
    """Run a command and kill it some seconds after it has the file; whether it was at work still."""
    process = await bmacdb(*arguments)
    await has_file(process, path)
    with suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), after)
    at_work = process.returncode is None
    if at_work:
        process.kill()
    await process.communicate()
    return at_work


@contextmanager
def _beside(path: Path, reference: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The file as `mine`, what it should hold as `whole`; both only read."""
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{path}' AS mine (READ_ONLY)")
        connection.execute(f"ATTACH '{reference}' AS whole (READ_ONLY)")
        yield connection


def _count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM ({query})").fetchone()
    return 0 if row is None else int(row[0])


def _has(connection: duckdb.DuckDBPyConnection, schema: str, table: str = "candles") -> bool:
    return bool(
        _count(
            connection,
            "FROM duckdb_tables() "
            f"WHERE database_name = 'mine' AND schema_name = '{schema}' AND table_name = '{table}'",
        )
    )


def write_months(folder: Path, symbols: int, months: int) -> None:
    """Files of the archive, of minute bars that follow from their symbol and time."""
    with duckdb.connect() as connection:
        for month in range(months):
            first, end = f"TIMESTAMP '2025-{month + 1:02}-01'", f"TIMESTAMP '2025-{month + 2:02}-01'"
            for symbol in range(symbols):
                name = f"S{symbol:02}USDT"
                minutes = f"unnest(range({first}, {end}, INTERVAL 1 MINUTE))"
                connection.execute(
                    f"""COPY (SELECT number AS open_time, open, high, low, close, volume, number + 59999 AS close_time,
                                     quote_volume, 7 AS count, 0 AS taker_buy_volume, 0 AS taker_buy_quote_volume,
                                     0 AS ignore
                              FROM (SELECT *, {_MADE_UP}
                                    FROM (SELECT '{name}' AS symbol, epoch_ms({minutes}) AS number)))
                        TO '{folder / f"{name}-1m-2025-{month + 1:02}.csv.gz"}' (FORMAT csv, COMPRESSION gzip)"""
                )


async def interrupt_imports(
    folder: Path, *, seed: int, kills: int, symbols: int = 5, months: int = 3, told: Told = lambda _: None
) -> Interrupted:
    """Kill imports of one set of files: into a new file, and into one that was left by the last kill."""
    done, moments = Interrupted("import", seed), random.Random(seed)
    (files := folder / "files").mkdir()
    await asyncio.to_thread(write_months, files, symbols, months)
    command = ("history", "import", str(files), "--feed", MINUTES.name, "--db")
    path, reference = folder / "bmac.duckdb", folder / "whole.duckdb"
    lasts = await _undisturbed((*command, str(reference)), reference)
    seen = 0
    for number in range(kills):
        if number and moments.random() < 0.4:
            path.unlink(missing_ok=True)
            path.with_name(f"{path.name}.wal").unlink(missing_ok=True)
            seen = 0
        done.kills += 1
        done.at_work += await _killed((*command, str(path)), path, moments.uniform(0, 1.1 * lasts))
        if path.exists():
            seen, problems = await asyncio.to_thread(_look_at_import, path, reference, seen)
            done.partial += 0 < seen < symbols * months
            done.looked(problems, told)
        told(f"{done}; {seen} of {symbols * months} files are in")
    await _undisturbed((*command, str(path)), path)
    seen, problems = await asyncio.to_thread(_look_at_import, path, reference, seen)
    if seen != symbols * months:
        problems.append(f"let run to its end, the import left {seen} of {symbols * months} files")
    done.looked(problems, told)
    with _beside(path, reference) as connection:
        done.rows = _count(connection, f"FROM mine.{MINUTES.name}.candles")
    return done


def _look_at_import(path: Path, reference: Path, seen: int) -> tuple[int, list[str]]:
    """How many files are in, and what is wrong."""
    feed, problems = MINUTES.name, []
    with _beside(path, reference) as connection:
        if not _has(connection, feed):
            return 0, [f"{seen} files are gone"] if seen else []
        rows = f"SELECT symbol, open_time, {_VALUES}, source FROM"
        if more := _count(connection, f"{rows} mine.{feed}.candles EXCEPT ALL {rows} whole.{feed}.candles"):
            problems.append(f"{more} rows that are in no file, or twice there")
        by_file = "SELECT symbol, month(open_time) AS month, count(*) AS bars FROM"
        mine = f"({by_file} mine.{feed}.candles GROUP BY ALL)"
        whole = f"({by_file} whole.{feed}.candles GROUP BY ALL)"
        if half := _count(
            connection, f"FROM {mine} AS mine JOIN {whole} AS whole USING (symbol, month) WHERE mine.bars <> whole.bars"
        ):
            problems.append(f"{half} files are in by half")
        files = _count(connection, f"FROM {mine}")
        if files < seen:
            problems.append(f"{seen - files} files that were in are gone")
        for table in ("gaps", "corrections"):
            if wrong := _count(connection, f"FROM mine.{feed}.{table}"):
                problems.append(f"{wrong} {table}")
    return files, problems


async def _make_base(path: Path, symbols: int, bars: int) -> None:
    """A file of five-minute bars, with holes."""
    feed = HOURS.feed
    store = await Store.open(path, clock=SystemClock())
    await store.add_feed(feed, num_candles=bars)
    statement = f"""INSERT INTO {feed.name}.candles
        SELECT symbol, make_timestamptz(1000 * ({_START_MS} + {_STEP_MS} * number)), open, high, low, close, volume,
               quote_volume, 7, 0, 0, 'ws', make_timestamptz(0)
        FROM (SELECT *, {_MADE_UP} FROM (SELECT printf('S%02dUSDT', symbol) AS symbol, number
              FROM range({bars}) AS numbers(number), range({symbols}) AS symbols(symbol)))
        WHERE hash(symbol, number) % 500 <> 0"""
    await store.run(lambda connection: connection.execute(statement).fetchall())
    await store.close()


async def interrupt_resampling(
    folder: Path, *, seed: int, kills: int, symbols: int = 60, bars: int = 4_500, told: Told = lambda _: None
) -> Interrupted:
    """Kill the making of hour bars of one file."""
    done, moments = Interrupted("resample", seed), random.Random(seed)
    base, path, reference = folder / "base.duckdb", folder / "bmac.duckdb", folder / "whole.duckdb"
    await _make_base(base, symbols, bars)
    for one in (path, reference):
        await asyncio.to_thread(shutil.copyfile, base, one)
    command = ("resample", "--from", "5m", "--to", "1h", "--store", "--db")
    lasts = await _undisturbed((*command, str(reference)), reference)
    with _beside(path, reference) as connection:
        whole = _count(connection, f"FROM whole.{HOURS.name}.candles")
    seen = 0
    for number in range(kills):
        if number and moments.random() < 0.4:
            await asyncio.to_thread(shutil.copyfile, base, path)
            path.with_name(f"{path.name}.wal").unlink(missing_ok=True)
            seen = 0
        done.kills += 1
        done.at_work += await _killed((*command, str(path)), path, moments.uniform(0, 1.1 * lasts))
        seen, problems = await asyncio.to_thread(_look_at_bars, path, reference, seen)
        done.partial += 0 < seen < whole
        done.looked(problems, told)
        told(f"{done}; {seen} of {whole} bars are kept")
    await _undisturbed((*command, str(path)), path)
    done.rows, problems = await asyncio.to_thread(_look_at_bars, path, reference, seen)
    if done.rows != whole:
        problems.append(f"let run to its end, the command left {done.rows} of {whole} bars")
    done.looked(problems, told)
    return done


def _look_at_bars(path: Path, reference: Path, seen: int) -> tuple[int, list[str]]:
    """How many bars are kept, and what is wrong."""
    problems, name, feed = [], HOURS.name, HOURS.feed.name
    with _beside(path, reference) as connection:
        rows = f"SELECT symbol, open_time, {_VALUES} FROM"
        for one, other in (("mine", "whole"), ("whole", "mine")):
            query = f"{rows} {one}.{feed}.candles EXCEPT ALL {rows} {other}.{feed}.candles"
            if wrong := _count(connection, query):
                problems.append(f"{wrong} recorded candles are not what they were")
        if not _has(connection, name):
            return 0, [*problems, *([f"{seen} bars are gone"] if seen else [])]
        rows = f"SELECT {_BARS} FROM"
        if more := _count(connection, f"{rows} mine.{name}.candles EXCEPT ALL {rows} whole.{name}.candles"):
            problems.append(f"{more} bars that should not be, or are twice there")
        for table in ("run_status", "runs"):
            if wrong := 0 if _has(connection, name, table) else 1:
                problems.append(f"{wrong} table {table} is not there")
        bars = _count(connection, f"FROM mine.{name}.candles")
        if bars < seen:
            problems.append(f"{seen - bars} bars that were kept are gone")
    return bars, problems


def main(given: Sequence[str] | None = None) -> int:
    """The long form: every part in a directory of its own; each failure is printed with its seed."""
    from .beside import interrupt_live_resampling, interrupt_offers

    parts = {
        "import": interrupt_imports,
        "resample": interrupt_resampling,
        "beside": interrupt_offers,
        "live": interrupt_live_resampling,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(parts)} [default: all]")
    parser.add_argument("--kills", type=int, default=40, help="of each part")
    parser.add_argument("--seed", type=int, default=11)
    arguments = parser.parse_args(given)
    if unknown := set(arguments.parts) - set(parts):
        parser.error(f"no part {', '.join(sorted(unknown))}: there are {', '.join(parts)}")
    finished = []
    for name in arguments.parts or parts:
        with tempfile.TemporaryDirectory(prefix="bmacdb-interrupted-") as folder:
            work = parts[name](Path(folder), seed=arguments.seed, kills=arguments.kills, told=_say)
            finished.append(asyncio.run(work))
    for done in finished:
        print(done, *done.complaints, sep="\n  WRONG: ")
    return 1 if any(done.complaints for done in finished) else 0


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
