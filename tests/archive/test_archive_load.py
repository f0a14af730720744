"""Import into the record: every bar once, the archive's version on top, and nothing of a file that is not whole."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from bmacdb.archive import load as loading
from bmacdb.archive.bulk import write_candles
from bmacdb.archive.load import Found, State, find_files, in_mirror, load
from bmacdb.archive.sink import FileSink
from bmacdb.clock import ManualClock
from bmacdb.errors import StoreError, StoreFull, UsageError
from bmacdb.interval import DAY_MS, HOUR_MS
from bmacdb.model import Batch, Candle, Gap, GapState, Source
from bmacdb.store.writer import Store
from bmacdb.symbols import parse_feed
from tests.recorder.support import info

from .support import (
    DELIVERED_MS,
    FEBRUARY_MS,
    HEADER,
    JANUARY_MS,
    LAST_DAY_MS,
    NOW_MS,
    PERP,
    SPOT,
    Scene,
    day_file,
    lines,
    month,
    scene,
    text,
    zipped,
)


async def imported(here: Scene, files: list[Found]) -> tuple[list[loading.Loaded], loading.Totals]:
    sink = await here.sink(SPOT)
    try:
        return await load(files, sink, clock=here.clock)
    finally:
        await sink.close()


@pytest.mark.parametrize("feed", [SPOT, PERP], ids=lambda feed: feed.name)
async def test_what_is_imported_is_what_the_exchange_made(tmp_path: Path, feed: object) -> None:
    """Months and days, with and without a header, in milliseconds and microseconds: row by row; twice is once."""
    here_feed = SPOT if feed is SPOT else PERP
    async with scene(tmp_path) as here:
        december_ms = JANUARY_MS - 31 * DAY_MS
        await here.fetch(here_feed, "BTCUSDT", "ETHUSDT", start_ms=december_ms)
        files = in_mirror(here.mirror, here_feed)
        assert len(files) == 2 * (2 + 9)
        added = []
        for _ in range(2):
            sink = await here.sink(here_feed)
            _, totals = await load(files, sink, clock=here.clock)
            await sink.close()
            added.append((totals.added, totals.changed))
        rows = (LAST_DAY_MS - december_ms) // HOUR_MS
        assert added == [(2 * rows, 0), (0, 0)]
        for symbol in ("BTCUSDT", "ETHUSDT"):
            assert here.recorded(here_feed, symbol) == here.truth(here_feed, symbol, december_ms, LAST_DAY_MS)


async def record(here: Scene, *candles: Candle, gaps: tuple[Gap, ...] = ()) -> None:
    store = await Store.open(here.database, clock=here.clock)
    try:
        await store.add_feed(SPOT, num_candles=77)
        await store.commit(Batch(SPOT.name, JANUARY_MS, candles, gaps=gaps))
    finally:
        await store.close()


def bar(hour: int, close: float, source: Source) -> Candle:
    return Candle("BTCUSDT", JANUARY_MS + hour * HOUR_MS, 1.5, 2.5, 0.5, close, 10, 20, hour, 5, 6, source)


async def test_the_archive_outranks_and_nothing_is_overwritten_silently(tmp_path: Path) -> None:
    """Versions that differ: the archive's stands, both are noted. Alike: the first source stays. Invented: replaced."""
    async with scene(tmp_path) as here:
        await record(
            here,
            bar(0, 0.25, Source.WS),
            bar(1, 9.0, Source.WS),
            bar(2, 9.0, Source.REST),
            bar(3, 3.25, Source.FILL),
            bar(4, 9.0, Source.ARCHIVE),
        )
        files, _ = find_files([zipped(day_file(tmp_path), text(lines()))], SPOT)
        _, totals = await imported(here, files)
        assert (totals.added, totals.changed) == (19, 3)
        found = here.rows(f"SELECT hour(open_time), close, source FROM {SPOT.name}.candles ORDER BY 1 LIMIT 6")
        assert found == [(0, 0.25, "ws"), *((hour, hour + 0.25, "archive") for hour in range(1, 6))]
        noted = here.rows(
            "SELECT hour(open_time), recorded.close, recorded.source, later.close, later.source, stands "
            f"FROM {SPOT.name}.corrections ORDER BY 1"
        )
        assert noted == [
            (1, 9.0, "ws", 1.25, "archive", "later"),
            (2, 9.0, "rest", 2.25, "archive", "later"),
            (4, 9.0, "archive", 4.25, "archive", "later"),
        ]
        _, totals = await imported(here, files)
        assert (totals.added, totals.changed) == (0, 0)
        assert here.rows("SELECT num_candles FROM feeds") == [(77,)], "what readers were promised stays"


async def test_bulk_and_single_rows_follow_the_same_rule(tmp_path: Path) -> None:
    """The same versions by the column and candle by candle leave the same record."""
    versions = [bar(n, 9.0 if n % 2 else n + 0.25, source) for n, source in enumerate(list(Source) * 2)]
    archived = [bar(n, n + 0.25, Source.ARCHIVE) for n in range(12)]
    found = []
    async with scene(tmp_path) as here:
        for bulk in (False, True):
            here.database.unlink(missing_ok=True)
            await record(here, *versions)
            if bulk:
                path = zipped(day_file(tmp_path), text(lines(12)))
                await imported(here, find_files([path], SPOT)[0])
            else:
                await record(here, *archived)
            found.append(
                [
                    here.rows(f"SELECT * EXCLUDE (recorded_at) FROM {SPOT.name}.candles ORDER BY open_time"),
                    here.rows(f"SELECT * EXCLUDE (noticed_at) FROM {SPOT.name}.corrections ORDER BY open_time"),
                ]
            )
    assert found[0] == found[1]


async def test_bars_that_come_close_their_gaps(tmp_path: Path) -> None:
    """An open gap and one held for absent: filled where there are bars now, as they were for the rest."""
    day_ms = JANUARY_MS + DAY_MS
    gaps = (
        Gap("BTCUSDT", JANUARY_MS + 20 * HOUR_MS, day_ms + 2 * HOUR_MS, GapState.OPEN, "late", 5),
        Gap("BTCUSDT", JANUARY_MS + 5 * HOUR_MS, JANUARY_MS + 6 * HOUR_MS, GapState.ABSENT, "no such bar", 5, 6),
        Gap("ETHUSDT", JANUARY_MS + 5 * HOUR_MS, JANUARY_MS + 6 * HOUR_MS, GapState.OPEN, "late", 5),
    )
    async with scene(tmp_path) as here:
        await record(here, bar(0, 0.25, Source.WS), gaps=gaps)
        await imported(here, find_files([zipped(day_file(tmp_path), text(lines()))], SPOT)[0])
        query = "SELECT symbol, epoch_ms(gap_start), epoch_ms(gap_end), state FROM {}.gaps ORDER BY ALL"
        assert here.rows(query.format(SPOT.name)) == [
            ("BTCUSDT", JANUARY_MS + 5 * HOUR_MS, JANUARY_MS + 6 * HOUR_MS, "filled"),
            ("BTCUSDT", JANUARY_MS + 20 * HOUR_MS, day_ms, "filled"),
            ("BTCUSDT", day_ms, day_ms + 2 * HOUR_MS, "open"),
            ("ETHUSDT", JANUARY_MS + 5 * HOUR_MS, JANUARY_MS + 6 * HOUR_MS, "open"),
        ]


async def test_overlapping_months_leave_each_bar_once(tmp_path: Path) -> None:
    """A month and its days, and the same month twice under other folders."""
    async with scene(tmp_path) as here:
        month = zipped(tmp_path / "a" / "BTCUSDT-1h-2025-01.zip", text(lines(31 * 24)))
        again = zipped(tmp_path / "b" / "BTCUSDT-1h-2025-01.zip", text(lines(31 * 24)))
        day = zipped(day_file(tmp_path), text(lines()))
        loaded, totals = await imported(here, find_files([month, again, day], SPOT)[0])
        assert totals.added == 31 * 24
        assert [one.path for one in loaded if "its month is there" in "".join(one.notes)] == [day]
        (counts,) = here.rows(f"SELECT count(*), count(DISTINCT open_time) FROM {SPOT.name}.candles")
        assert counts == (31 * 24, 31 * 24)


async def test_a_bad_file_leaves_nothing_of_itself_and_stops_no_other(tmp_path: Path) -> None:
    """A truncated zip, a row too short, another interval, a foreign symbol, a name that says nothing."""
    good = zipped(day_file(tmp_path), text(lines()))
    truncated = zipped(day_file(tmp_path, day="2025-01-02"), text(lines(start_ms=JANUARY_MS + DAY_MS)))
    truncated.write_bytes(truncated.read_bytes()[:-40])
    short = day_file(tmp_path, day="2025-01-03").with_suffix(".csv")
    short.write_bytes(text([*lines(23, start_ms=JANUARY_MS + 2 * DAY_MS), "1,2,3"]))
    minutes = zipped(
        day_file(tmp_path, day="2025-01-04"), text(lines(60, start_ms=JANUARY_MS + 3 * DAY_MS, step_ms=60_000))
    )
    named = zipped(day_file(tmp_path, interval="5m"), text(lines()))
    foreign = zipped(day_file(tmp_path, symbol="ETHBTC"), text(lines()))
    nameless = tmp_path / "prices.csv"
    nameless.write_bytes(text(lines()))
    paths = [good, truncated, short, minutes, named, foreign, nameless]
    async with scene(tmp_path) as here:
        loaded, totals = await imported(here, find_files(paths, SPOT)[0])
        assert {one.path: one.state for one in loaded if one.state is State.LOADED} == {good: State.LOADED}
        told = {one.path: one.notes[0] for one in loaded if one.notes}
        for path, words in (
            (truncated, "damaged"),
            (short, "Expected 12 columns"),
            (minutes, "are 60 s long"),
            (named, "holds bars of 5m"),
            (foreign, "no symbol of usdt_spot"),
            (nameless, "not named like"),
        ):
            assert words in told[path]
            assert path.name in told[path]
        assert totals.added == 24
        assert here.rows(f"SELECT count(*) FROM {SPOT.name}.candles") == [(24,)]


def test_a_directory_may_hold_files_of_other_feeds(tmp_path: Path) -> None:
    """They are left out; a path that is not there is an error."""
    mine = zipped(tmp_path / "data/spot/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01-01.zip", b"")
    zipped(tmp_path / "data/spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2025-01-01.zip", b"")
    zipped(tmp_path / "data/futures/um/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01-01.zip", b"")
    zipped(tmp_path / "quarantine/data/spot/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01-02.zip", b"")
    files, others = find_files([tmp_path], SPOT)
    assert [one.path for one in files] == [mine]
    assert len(others) == 2
    with pytest.raises(UsageError, match="does not exist"):
        find_files([tmp_path / "nowhere"], SPOT)


class FullAfter(FileSink):
    """A file whose disk is full from the second transaction on."""

    calls = 0

    async def archived(self, candles: pa.Table) -> loading.Totals | None:  # type: ignore[override]
        self.calls += 1
        if self.calls > 1:
            raise StoreFull("no room to write.")
        await super().archived(candles)
        return None


async def test_a_disk_full_half_way_loses_nothing_and_is_said(tmp_path: Path) -> None:
    """What was written stays; the same import again completes it."""
    months = [
        zipped(tmp_path / f"BTCUSDT-1h-2025-0{n}.zip", text(lines(28 * 24, start_ms=start)))
        for n, start in ((1, JANUARY_MS), (2, FEBRUARY_MS))
    ]
    clock = ManualClock(NOW_MS + 100 * DAY_MS)
    files, _ = find_files([*months, shutil.copytree(tmp_path, tmp_path / "again")], SPOT)
    store = await Store.open(tmp_path / "bmac.duckdb", clock=clock)
    try:
        await store.add_feed(SPOT, num_candles=10)
        sink = FullAfter(store, SPOT, clock)
        with pytest.raises(StoreFull):
            await load(files, sink, clock=clock)
        assert await store.run(lambda c: c.execute(f"SELECT count(*) FROM {SPOT.name}.candles").fetchone()) == (672,)
        _, totals = await load(files, FileSink(store, SPOT, clock), clock=clock)
        assert totals.added == 672
    finally:
        await store.close()


async def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """Rows are all there or none is: an error in the middle of one rolls it back."""
    from bmacdb.archive.load import read_file

    found = find_files([zipped(day_file(tmp_path), text([HEADER, *lines()]))], SPOT)[0][0]
    table = read_file(found, SPOT).table
    store = await Store.open(tmp_path / "bmac.duckdb", clock=ManualClock(NOW_MS))
    try:
        await store.add_feed(SPOT, num_candles=10)
        await store.run(lambda c: write_candles(c, SPOT, table.slice(0, 3), NOW_MS))
        await store.run(lambda c: c.execute(f"ALTER TABLE {SPOT.name}.corrections ADD COLUMN x INTEGER"))
        with pytest.raises(StoreError):
            await store.run(lambda c: write_candles(c, SPOT, table, NOW_MS))
        assert await store.run(lambda c: c.execute(f"SELECT count(*) FROM {SPOT.name}.candles").fetchone()) == (3,)
    finally:
        await store.close()


async def test_a_cancelled_import_leaves_whole_transactions(tmp_path: Path) -> None:
    """Ctrl-C in the middle: the file opens, and no bar is there twice afterwards."""
    async with scene(tmp_path) as here:
        await here.fetch(SPOT, "BTCUSDT")
        files = in_mirror(here.mirror, SPOT)
        sink = await here.sink(SPOT)
        importing = asyncio.create_task(load(files, sink, clock=here.clock))
        await asyncio.sleep(0)
        importing.cancel()
        await asyncio.wait({importing})
        await sink.close()
        await imported(here, files)
        assert here.recorded(SPOT, "BTCUSDT") == here.truth(SPOT, "BTCUSDT", JANUARY_MS, LAST_DAY_MS)


async def test_a_settled_symbol_ends_where_it_was_settled(tmp_path: Path) -> None:
    """What the record knows of its delivery decides; a symbol of which it knows none is seen in `flat_tails`."""
    feed = parse_feed("usdt_perp_1d")
    for symbol in ("FTMUSDT", "OTHERUSDT"):
        zipped(tmp_path / f"{symbol}-1d-2025-01.zip", month(*range(6)))
    known = {"FTMUSDT": replace(info("FTMUSDT", "SETTLING"), delivery_ms=DELIVERED_MS)}
    files, _ = find_files([tmp_path], feed, known=known)
    clock = ManualClock(NOW_MS)
    store = await Store.open(tmp_path / "bmac.duckdb", clock=clock)
    try:
        await store.add_feed(feed, num_candles=10)
        loaded, totals = await load(files, FileSink(store, feed, clock), clock=clock)
        assert totals.added == 6 + 31
        assert all(one.notes for one in loaded)
        counted = await store.run(
            lambda c: c.execute("SELECT symbol, bars, epoch_ms(last_traded) FROM flat_tails").fetchall()
        )
        assert counted == [("OTHERUSDT", 25, JANUARY_MS + 5 * DAY_MS)]
    finally:
        await store.close()
