"""Holes: found, told from halts, filled from the archive and REST, and proved absent. Relistings."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmacdb.archive.fill import Exchange, Filled, fill
from bmacdb.archive.gaps import Hole, HoleKind, Record, find_holes, look_up
from bmacdb.archive.holes import clipped, joined, minus, settled
from bmacdb.archive.load import find_files, in_mirror, load
from bmacdb.archive.sink import open_sink
from bmacdb.archive.splits import Part, Thresholds, find_parts, split_candles
from bmacdb.archive.verify import Condition, verify
from bmacdb.clock import ManualClock
from bmacdb.errors import UsageError
from bmacdb.interval import DAY_MS, HOUR_MS, Interval
from bmacdb.model import Batch, Feed, Gap, GapState, Market, Segment
from bmacdb.recorder.gaps import settle
from bmacdb.simulated.faults import Halt
from bmacdb.store.reader import connect
from bmacdb.store.writer import Store
from bmacdb.symbols import parse_feed

from .support import FEBRUARY_MS, JANUARY_MS, LAST_DAY_MS, NOW_MS, PERP, SPOT, Scene, lines, scene, text, zipped

HOUR = Interval.parse("1h")
pieces = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 8)), max_size=6)


def segments(drawn: list[tuple[int, int]]) -> list[Segment]:
    return [Segment(start, start + length) for start, length in drawn]


def numbers(parts: list[Segment]) -> set[int]:
    return {number for part in parts for number in range(part.start_ms, part.end_ms)}


@given(pieces, pieces)
def test_ranges_are_sets(some: list[tuple[int, int]], others: list[tuple[int, int]]) -> None:
    """Difference, union and clipping of ranges are those of the numbers in them, in the fewest pieces."""
    one, other = segments(some), segments(others)
    assert numbers(minus(one, other)) == numbers(one) - numbers(other)
    assert numbers(clipped(one, 5, 20)) == numbers(one) & set(range(5, 20))
    whole = joined(one)
    assert numbers(whole) == numbers(one)
    assert all(left.end_ms < right.start_ms for left, right in pairwise(whole))


@given(st.integers(1, 12), st.sets(st.integers(0, 12)), st.tuples(st.integers(0, 12), st.integers(0, 12)))
def test_gaps_settle_as_the_recorder_settles_them(length: int, bars: set[int], asked: tuple[int, int]) -> None:
    """By ranges here and bar by bar there: the same rows."""
    gap = Gap("X", 0, length * HOUR_MS, GapState.OPEN, "late", 1)
    now_ms = 1000 * HOUR_MS
    window = asked[0] * HOUR_MS, asked[1] * HOUR_MS
    present = [Segment(bar * HOUR_MS, (bar + 1) * HOUR_MS) for bar in bars]
    theirs = settle(
        gap,
        HOUR,
        present={bar * HOUR_MS for bar in bars},
        asked=window,
        evidence_ms=now_ms,
        answered_ms=now_ms,
    )
    absent = [Segment(*window)] if window[0] < window[1] else []
    ours = settled(gap, HOUR, present, now_ms=now_ms, absent=absent, why="the exchange has no such bar")
    assert ours == list(theirs)


# Finding and filling


async def recorded(here: Scene, feed: Feed, *symbols: str) -> None:
    """A record of January and the days of February, from the archive, with the trading rules of the symbols."""
    await here.fetch(feed, *symbols)
    client, _ = here.rest(feed)
    infos = [info for info in (await client.exchange_info()).symbols if info.symbol in symbols]
    store = await Store.open(here.database, clock=here.clock)
    await store.add_feed(feed, num_candles=10)
    await store.commit(Batch(feed.name, NOW_MS, exginfo=tuple(infos)))
    await store.close()
    sink = await here.sink(feed)
    await load(in_mirror(here.mirror, feed), sink, clock=here.clock)
    await sink.close()


def looked(here: Scene, feed: Feed, start_ms: int = JANUARY_MS) -> tuple[Record, list[Hole]]:
    with connect(here.database) as reader:
        record = look_up(reader, feed)
    return record, find_holes(record, feed, now_ms=NOW_MS, start_ms=start_ms)


async def filled(here: Scene, feed: Feed, *, archive: bool = True, rest: bool = True, whole: bool = False) -> Filled:
    record, holes = await asyncio.to_thread(looked, here, feed)
    kinds = (HoleKind.HOLE, HoleKind.BEFORE) if whole else (HoleKind.HOLE,)
    sink = await open_sink(here.database, feed, clock=here.clock)
    try:
        return await fill(
            record,
            [hole for hole in holes if hole.kind in kinds],
            sink,
            archive=here.client if archive else None,
            mirror=here.mirror,
            rest=Exchange(*here.rest(feed)) if rest else None,
            clock=here.clock,
        )
    finally:
        await sink.close()


def delete(here: Scene, feed: Feed, symbol: str, start_ms: int, end_ms: int) -> None:
    here.change(
        f"DELETE FROM {feed.name}.candles WHERE symbol = '{symbol}' "
        f"AND epoch_ms(open_time) >= {start_ms} AND epoch_ms(open_time) < {end_ms}"
    )


async def test_holes_are_filled_from_archive_then_rest_and_a_second_run_does_nothing(tmp_path: Path) -> None:
    """Every bar between listing and now is there afterwards, each as the exchange made it."""
    async with scene(tmp_path) as here:
        await recorded(here, PERP, "BTCUSDT", "ETHUSDT")
        hole = JANUARY_MS + 30 * HOUR_MS
        delete(here, PERP, "BTCUSDT", hole, hole + 5 * HOUR_MS)
        _, holes = looked(here, PERP)
        today = Hole("BTCUSDT", LAST_DAY_MS, NOW_MS - HOUR_MS, 11, HoleKind.HOLE, "not in the record")
        assert holes[0] == Hole("BTCUSDT", hole, hole + 5 * HOUR_MS, 5, HoleKind.HOLE, "not in the record")
        assert holes[1] == today
        assert [one.symbol for one in holes] == ["BTCUSDT", "BTCUSDT", "ETHUSDT"]

        report = await filled(here, PERP)
        assert (report.missing, report.from_archive, report.from_rest) == (27, 5, 22)
        assert (report.absent, report.open, report.notes) == (0, 0, [])
        assert looked(here, PERP)[1] == []
        for symbol in ("BTCUSDT", "ETHUSDT"):
            assert here.recorded(PERP, symbol) == here.truth(PERP, symbol, JANUARY_MS, NOW_MS - HOUR_MS)
        sources = here.rows(f"SELECT source, count(*) FROM {PERP.name}.candles GROUP BY 1 ORDER BY 2")
        assert sources[0] == ("rest", 22)
        gaps = here.rows(f"SELECT symbol, state, count(*) FROM {PERP.name}.gaps GROUP BY ALL ORDER BY 1")
        assert gaps == [("BTCUSDT", "filled", 2), ("ETHUSDT", "filled", 1)]
        assert await filled(here, PERP) == Filled()


async def test_what_neither_has_is_a_halt(tmp_path: Path) -> None:
    """A halt of the exchange is proved, told from holes, and not asked for again; what the recorder noted is closed."""
    async with scene(tmp_path, start_ms=NOW_MS) as here:
        halt_ms = JANUARY_MS + 50 * HOUR_MS
        here.exchange.inject(Halt(market=Market.SPOT, symbol="BTCUSDT", seconds=4 * 3600, at_ms=halt_ms))
        await recorded(here, SPOT, "BTCUSDT")
        noted = Gap("BTCUSDT", halt_ms + HOUR_MS, halt_ms + 2 * HOUR_MS, GapState.OPEN, "late", 5)
        store = await Store.open(here.database, clock=here.clock)
        await store.add_feed(SPOT, num_candles=10)
        await store.commit(Batch(SPOT.name, NOW_MS, gaps=(noted,)))
        await store.close()

        kinds = [(hole.start_ms, hole.bars, hole.kind, hole.reason) for hole in looked(here, SPOT)[1]]
        assert kinds[:3] == [
            (halt_ms, 1, HoleKind.HOLE, "not in the record"),
            (halt_ms + HOUR_MS, 1, HoleKind.HOLE, "late"),
            (halt_ms + 2 * HOUR_MS, 2, HoleKind.HOLE, "not in the record"),
        ]
        report = await filled(here, SPOT)
        assert (report.absent, report.open) == (4, 0)
        assert {hole.kind for hole in looked(here, SPOT)[1]} == {HoleKind.HALT}
        gaps = here.rows(f"SELECT epoch_ms(gap_start), state FROM {SPOT.name}.gaps WHERE state <> 'filled' ORDER BY 1")
        assert gaps == [(halt_ms + n * HOUR_MS, "absent") for n in range(3)]
        assert await filled(here, SPOT) == Filled()


async def test_nothing_is_proved_by_half(tmp_path: Path) -> None:
    """Without the archive, without REST, or with a file of the archive put aside, holes stay open, and are noted."""
    async with scene(tmp_path) as here:
        halt_ms = JANUARY_MS + 50 * HOUR_MS
        here.exchange.inject(Halt(market=Market.SPOT, symbol="BTCUSDT", seconds=2 * 3600, at_ms=halt_ms))
        await recorded(here, SPOT, "BTCUSDT")
        assert (await filled(here, SPOT, archive=False)).open == 2
        assert (await filled(here, SPOT, rest=False)).open == 2
        key = next(one.entry.key for one in await here.listed(SPOT, "BTCUSDT"))
        here.exchange.archive.wrong_checksums.add(key)
        here.exchange.archive.replaced[key] = 1
        report = await filled(here, SPOT)
        assert (report.absent, report.open) == (0, 2)
        assert "SHA-256" in report.notes[0]
        states = here.rows(f"SELECT state, epoch_ms(gap_start) FROM {SPOT.name}.gaps WHERE state <> 'filled'")
        assert states == [("open", halt_ms)]
        here.exchange.archive.wrong_checksums.clear()
        assert (await filled(here, SPOT)).absent == 2


async def test_history_before_the_record_is_told_apart(tmp_path: Path) -> None:
    """It is no hole; it is fetched when the whole is asked for. A symbol that trades no more ends with its delivery."""
    async with scene(tmp_path) as here:
        await recorded(here, PERP, "BTCUSDT", "GONEUSDT")
        delete(here, PERP, "BTCUSDT", 0, FEBRUARY_MS)
        holes = looked(here, PERP, FEBRUARY_MS - 2 * DAY_MS)[1]
        before = [hole for hole in holes if hole.kind is HoleKind.BEFORE]
        assert [(hole.symbol, hole.bars) for hole in before] == [("BTCUSDT", 48)]
        assert not [hole for hole in holes if hole.symbol == "GONEUSDT"]
        report = await filled(here, PERP, whole=True)
        assert report.open == report.absent == 0
        assert here.recorded(PERP, "BTCUSDT") == here.truth(PERP, "BTCUSDT", JANUARY_MS, NOW_MS - HOUR_MS)


async def test_agreement_is_reported(tmp_path: Path) -> None:
    """Files that were harmed, replaced or lost, bars that lack, differ or are more: file by file."""
    async with scene(tmp_path) as here:
        await recorded(here, SPOT, "BTCUSDT")
        here.change(f"UPDATE {SPOT.name}.candles SET close = close + 1 WHERE epoch_ms(open_time) = {JANUARY_MS}")
        delete(here, SPOT, "BTCUSDT", JANUARY_MS + HOUR_MS, JANUARY_MS + 3 * HOUR_MS)
        files = [file for file, _ in here.mirror.all()]
        january = next(file for file in files if file.cadence == "monthly")
        harmed, lost, replaced = files[0], files[1], files[2]
        here.mirror.path(harmed.key).write_bytes(b"x" * 10)
        here.mirror.path(lost.key).unlink()
        here.exchange.archive.replaced[replaced.key] = 1
        listed = {one.entry.key: one for one in await here.listed(SPOT, "BTCUSDT")}

        def look() -> dict[str, object]:
            with connect(here.database) as reader:
                return {
                    one.file.key: one
                    for one in verify(here.mirror, files, SPOT, reader=reader, listed=listed, now_ms=NOW_MS)
                }

        checked = await asyncio.to_thread(look)
        conditions = {key: one.condition for key, one in checked.items()}  # type: ignore[attr-defined]
        assert conditions[harmed.key] is Condition.CORRUPT
        assert conditions[lost.key] is Condition.MISSING
        assert conditions[replaced.key] is Condition.REPLACED
        difference = checked[january.key].difference  # type: ignore[attr-defined]
        assert (difference.rows, difference.missing, difference.differing, difference.extra) == (744, 2, 1, 0)
        assert not checked[january.key].agrees  # type: ignore[attr-defined]
        assert checked[files[5].key].agrees  # type: ignore[attr-defined]


# Relistings


async def written(folder: Path, feed: Feed, *paths: Path) -> Path:
    clock = ManualClock(NOW_MS + 4000 * DAY_MS)
    database = folder / "bmac.duckdb"
    sink = await open_sink(database, feed, clock=clock)
    await load(find_files(paths, feed)[0], sink, clock=clock)
    await sink.close()
    return database


def priced(rows: list[str], factor: float) -> list[str]:
    """The rows of `lines` at one price."""
    return [
        row.replace("1.5,2.5,0.5,", f"{factor},{factor},{factor},").replace(f"{factor},{n}.25,", f"{factor},{factor},")
        for n, row in enumerate(rows)
    ]


@pytest.mark.parametrize(
    ("pause_hours", "factor", "parts"),
    [(23, 9.0, 1), (24, 1.05, 1), (24, 1.11, 2), (24, 0.89, 2), (47, 1.05, 1), (48, 1.0, 2)],
)
async def test_a_pause_splits_as_the_predecessor_had_it(
    tmp_path: Path, pause_hours: int, factor: float, parts: int
) -> None:
    """A day with ten per cent, or two days: not an hour less, not a per cent less."""
    start = JANUARY_MS + 10 * HOUR_MS
    rows = priced(lines(20, start_ms=start), 1.0)
    rows += priced(lines(20, start_ms=start + (20 + pause_hours) * HOUR_MS), factor)
    database = await written(tmp_path, SPOT, zipped(tmp_path / "AUSDT-1h-2025-01.zip", text(rows)))
    with connect(database) as reader:
        found = find_parts(reader, SPOT, symbols=["AUSDT"])
        assert [part.name for part in found] == ["SP0_AUSDT", "AUSDT"][-parts:]
        assert len(find_parts(reader, SPOT)) == (0 if parts == 1 else 2)
        strict = Thresholds(short_ms=DAY_MS, long_ms=100 * DAY_MS, move=1e9)
        assert len(find_parts(reader, SPOT, symbols=["AUSDT"], thresholds=strict)) == 1


async def test_bars_are_flat_where_they_are_asked_for(tmp_path: Path) -> None:
    """The close before as every price, no volume, source fill; the record has none of it."""
    rows = lines(24)
    del rows[3:6]
    database = await written(tmp_path, SPOT, zipped(tmp_path / "AUSDT-1h-2025-01-01.zip", text(rows)))
    with connect(database) as reader:
        plain = split_candles(reader, "AUSDT", feed=SPOT)
        full = split_candles(reader, "AUSDT", feed=SPOT, fill=True)
        assert (plain.num_rows, full.num_rows) == (21, 24)
        flat = full.slice(3, 3).to_pylist()
        assert {(row["open"], row["high"], row["low"], row["close"]) for row in flat} == {(2.25,) * 4}
        assert {(row["volume"], row["quote_volume"], row["trade_num"], row["source"]) for row in flat} == {
            (0.0, 0.0, 0, "fill")
        }
        assert full.column_names == plain.column_names
        assert reader.sql("SELECT count(*) FROM candles").rows() == [(21,)]
        with pytest.raises(UsageError, match="there are: AUSDT"):
            split_candles(reader, "SP0_AUSDT", feed=SPOT)


async def test_luna_is_two_coins(tmp_path: Path, real_data: Path) -> None:
    """The archive's own file of May 2022: trading stops on the 13th and begins on the 31st, with another coin."""
    minutes = parse_feed("usdt_spot_1m")
    database = await written(tmp_path, minutes, real_data / "archive" / "LUNAUSDT-1m-2022-05.zip")
    with connect(database) as reader:
        old, new = find_parts(reader, minutes)
        assert (old.name, new.name) == ("SP0_LUNAUSDT", "LUNAUSDT")
        assert isinstance(new, Part)
        assert new.move is not None
        assert new.move > 1000
        (hole,) = find_holes(look_up(reader, minutes), minutes, now_ms=NOW_MS)
        assert (hole.bars, hole.kind) == (26_240, HoleKind.HOLE)
        view = reader.sql("SELECT name, count(*) FROM split_candles GROUP BY 1 ORDER BY 1").rows()
        assert view == [("LUNAUSDT", 1_080), ("SP0_LUNAUSDT", 17_320)]
        assert split_candles(reader, "SP0_LUNAUSDT", feed=minutes).num_rows == 17_320
