"""kill -9 beside a recorder: of imports that give it rows, of the recorder that takes them, and of one that resamples.

After every kill the file must open with what it had, each bar once and as the exchange made it; begun again, the work
is completed.
"""

from __future__ import annotations

import asyncio
import math
import random
from pathlib import Path

import duckdb

from bmacdb.clock import from_ms
from bmacdb.interval import DAY_MS
from bmacdb.offset import Resampling
from bmacdb.simulated import SimulatedExchange
from bmacdb.store.resample import bars_query
from bmacdb.symbols import parse_feed
from tests.acceptance.support import Recorder, agrees, query

from .interrupted import Interrupted, Told, bmacdb
from .ledger import unvouched

__all__ = ["interrupt_live_resampling", "interrupt_offers"]

FEED = parse_feed("usdt_perp_1m")
FIVES = Resampling.of(FEED, "5m")
_DAYS = 4  # of the archive
_WINDOW = 2400  # over a day and the hours that the archive takes to publish one, so that it reaches what that has
_BARS = (
    'symbol, epoch_ms(open_time), "offset", open, high, low, close, trade_num, vwap_1m, volume, quote_volume, '
    "taker_buy_base_asset_volume, taker_buy_quote_asset_volume"
)
_SUMS = 4  # the last ones, in whose last digits bars differ that were added up in another order


async def interrupt_offers(folder: Path, *, seed: int, kills: int, told: Told = lambda _: None) -> Interrupted:
    """Kill imports that go through a recorder, and recorders that are given an import, in turns."""
    done, moments = Interrupted("import beside a recorder", seed), random.Random(seed)
    arguments = ["--feed", FEED.name, "--num-candles", str(_WINDOW)]
    async with SimulatedExchange(symbols=8, speed=30.0, seed=seed) as exchange:
        urls = {"BMACDB_ARCHIVE_URL": exchange.archive_url, "BMACDB_REST_URL": exchange.rest_url}
        since = f"{from_ms(exchange.start_ms - _DAYS * DAY_MS):%Y-%m-%d}"
        database = folder / "bmac.duckdb"
        command = ("history", "import", "--feed", FEED.name, "--db", str(database))
        seen: set[tuple[object, ...]] = set()
        began = 0.0
        for number in range(kills + 1):
            async with Recorder(exchange, folder, arguments) as recorder:
                await recorder.until("history_planned")
                if not number:
                    fetched = await bmacdb(
                        *("history", "download", "--feed", FEED.name, "--start", since, "--db", str(database)), **urls
                    )
                    _, err = await fetched.communicate()
                    assert fetched.returncode == 0, err.decode()
                began = asyncio.get_running_loop().time()
                importing = await bmacdb(*command, **urls)
                ended = asyncio.create_task(importing.communicate())
                if number == kills:  # let run to its end, beside a recorder that goes on
                    _, err = await ended
                    if importing.returncode:
                        done.complaints.append(f"{done.what}, seed {seed}: the last import fails: {err.decode()}")
                    await recorder.until("run_complete", len(recorder.told("run_complete")) + 1)
                    await recorder.until_whole()
                    await recorder.stop()
                    break
                await asyncio.wait({ended}, timeout=moments.uniform(0.7, 3.0))
                done.kills += 1
                done.at_work += importing.returncode is None
                victim = importing if number % 2 else recorder.process
                assert victim is not None
                if victim.returncode is None:
                    victim.kill()
                _, err = await ended
                if victim is not importing and importing.returncode and b"Traceback" in err:
                    done.looked([f"the import tells of the recorder's end as {err.decode()}"], told)
                if victim is importing:
                    await recorder.stop()
            problems = await asyncio.to_thread(unvouched, database, FEED.name)
            found = await asyncio.to_thread(_keys, database)
            done.partial += any(source == "archive" for *_, source in found)
            if gone := {key[:2] for key in seen} - {key[:2] for key in found}:
                problems.append(f"{len(gone)} bars that were there are gone")
            seen = found
            done.looked(problems, told)
            told(f"{done}; {len(found)} bars after {asyncio.get_running_loop().time() - began:.1f} s")
        try:
            done.rows = agrees(exchange, database, FEED.name, num_candles=_WINDOW)
            least = exchange.start_ms - _DAYS * DAY_MS
            ((first_ms,),) = query(database, f"SELECT epoch_ms(min(open_time)) FROM {FEED.name}.candles")
            assert isinstance(first_ms, int)
            assert first_ms <= least, f"the archive's first bar {least} is not there: {first_ms}"
            assert query(database, f"SELECT count(*) FROM {FEED.name}.corrections") == [(0,)], "corrections"
        except AssertionError as error:
            done.looked([f"in the end: {str(error).splitlines()[0]}"], told)
    return done


def _keys(path: Path) -> set[tuple[object, ...]]:
    return set(query(path, f"SELECT symbol, epoch_ms(open_time), source FROM {FEED.name}.candles"))


async def interrupt_live_resampling(folder: Path, *, seed: int, kills: int, told: Told = lambda _: None) -> Interrupted:
    """Kill recorders that make bars of five minutes from those of one."""
    done, moments = Interrupted("resample while recording", seed), random.Random(seed)
    arguments = ["--feed", FEED.name, "--num-candles", "600", "--resample", "5m"]
    async with SimulatedExchange(symbols=20, speed=30.0, seed=seed) as exchange:
        seen: set[tuple[object, ...]] = set()
        for _ in range(kills):
            async with Recorder(exchange, folder, arguments) as recorder:
                await recorder.until("run_complete", moments.choice((1, 1, 2)))
                await asyncio.sleep(moments.uniform(0.0, 0.6))  # its bars come right behind, then the past is mended
                assert recorder.process is not None
                done.at_work += recorder.process.returncode is None
                recorder.process.kill()
            done.kills += 1
            found, problems = await asyncio.to_thread(_look_at_live, recorder.database, seen)
            done.partial += len(found) > 0
            seen = found
            done.looked(problems, told)
            told(f"{done}; {len(found)} bars are kept")
        async with Recorder(exchange, folder, [*arguments, "--periods", "4"]) as recorder:
            if status := await recorder.ended():
                done.complaints.append(f"{done.what}, seed {seed}: the restart ended with {status}: {recorder.story()}")
                return done
        found, problems = await asyncio.to_thread(_look_at_live, recorder.database, seen, whole=True)
        done.rows = len(found)
        done.looked(problems, told)
    return done


def _look_at_live(
    path: Path, seen: set[tuple[object, ...]], *, whole: bool = False
) -> tuple[set[tuple[object, ...]], list[str]]:
    """The keys of the bars that are kept, and what is wrong. `whole`: none may be missing behind the first."""
    name, problems = FIVES.name, unvouched(path, FEED.name)
    with duckdb.connect(str(path), read_only=True) as connection:

        def rows(text: str, params: dict[str, object] | None = None) -> list[tuple[object, ...]]:
            return connection.execute(text, params).fetchall()

        if not rows(f"FROM duckdb_tables() WHERE schema_name = '{name}' AND table_name = 'candles'"):
            return set(), [*problems, *([f"{len(seen)} bars are gone"] if seen else [])]
        kept = rows(f"SELECT {_BARS} FROM {name}.candles")
        keys: set[tuple[object, ...]] = {row[:2] for row in kept}
        if len(keys) < len(kept):
            problems.append(f"{len(kept) - len(keys)} bars are twice there")
        if gone := seen - keys:
            problems.append(f"{len(gone)} bars that were kept are gone: {sorted(gone, key=str)[:3]}")
        if kept:
            opened = [int(str(row[1])) for row in kept]
            text, params = bars_query(FIVES, min(opened), max(opened) + 1)
            made = {row[:2]: row for row in rows(f"SELECT {_BARS} FROM ({text})", params)}
            if wrong := [row for row in kept if not _same(row, made.get(row[:2], ()))]:
                problems.append(f"{len(wrong)} bars are not what their parts make: {sorted(wrong, key=str)[:3]}")
            if whole and (missing := made.keys() - keys):
                problems.append(f"{len(missing)} bars are not kept: {sorted(missing, key=str)[:3]}")
        length = FIVES.to.length_ms
        lacking = f"""FROM {name}.run_status AS status WHERE NOT EXISTS (FROM {name}.candles AS kept
            WHERE kept.symbol = status.item AND epoch_ms(kept.open_time) = epoch_ms(status.run_time) - {length})"""
        if unready := rows(lacking):
            problems.append(f"{len(unready)} bars are ready and not there")
        twice = f"SELECT run_time, item FROM {name}.run_status GROUP BY ALL HAVING count(*) > 1"
        if rows(twice) or rows(f"SELECT run_time FROM {name}.runs GROUP BY ALL HAVING count(*) > 1"):
            problems.append("readiness is there twice")
    return keys, problems


def _same(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    return one[:-_SUMS] == other[:-_SUMS] and all(
        math.isclose(float(str(mine)), float(str(theirs)), rel_tol=1e-9)
        for mine, theirs in zip(one[-_SUMS:], other[-_SUMS:], strict=True)
    )
