"""What the recorder asks its file, what it deletes, and the views that a shell sees."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from bmacdb.clock import to_ms
from bmacdb.interval import DAY_MS, Interval
from bmacdb.model import EXGINFO_ITEM, Batch, Candle, Feed, FundingRate, Gap, GapState, Ready, Run, Segment, Source
from bmacdb.symbols import make_feed
from tests.store.support import FEED, MINUTE, START, candle, opened, period, select, stored_candles


def bars(feed: Feed, symbol: str, opens: list[int]) -> Batch:
    return Batch(
        feed.name,
        START,
        tuple(Candle(symbol, ms, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1, 1.0, 1.0, Source.REST) for ms in opens),
    )


@settings(max_examples=20, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(
    interval=st.sampled_from(["1s", "1m", "4h", "1d", "3d", "1w", "1M"]),
    present=st.lists(st.sets(st.integers(0, 14)), min_size=1, max_size=3),
    window=st.tuples(st.integers(0, 14), st.integers(0, 14)),
)
def test_segments_cover_exactly_the_bars_there_are(
    interval: str, present: list[set[int]], window: tuple[int, int]
) -> None:
    """On every kind of grid, and within [start, end) alone: no segment has a hole, and no two touch."""
    feed = make_feed("usdt_spot", interval)
    grid = feed.interval.anchored(to_ms(datetime(2024, 1, 2)))
    feed = replace(feed, interval=grid)
    opens = [grid.shift(grid.floor(START), number) for number in range(15)]

    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with opened(Path(folder) / "a.duckdb") as store:
                await store.add_feed(feed, num_candles=5)
                for number, some in enumerate(present):
                    if some:
                        await store.commit(bars(feed, f"S{number}", [opens[n] for n in some]))
                start_ms, end_ms = opens[window[0]], opens[window[1]]
                found = await store.segments(feed, start_ms=start_ms, end_ms=end_ms)
                for number, some in enumerate(present):
                    wanted = [opens[n] for n in sorted(some) if start_ms <= opens[n] < end_ms]
                    segments = found.get(f"S{number}", ())
                    covered = [ms for segment in segments for ms in grid.opens(segment.start_ms, segment.end_ms)]
                    assert covered == wanted
                    assert all(one.end_ms < other.start_ms for one, other in pairwise(segments))

    asyncio.run(run())


async def test_long_segments_come_in_one_piece(tmp_path: Path) -> None:
    """Hundreds of bars without a hole are one segment; each hole parts it once, wherever it lies."""
    holes = {0, 255, 256, 511, 700}
    async with opened(tmp_path / "a.duckdb") as store:
        await store.commit(Batch(FEED.name, START, tuple(candle("WHOLE", minute) for minute in range(1000))))
        rest = tuple(candle("HOLED", minute) for minute in range(1000) if minute not in holes)
        await store.commit(Batch(FEED.name, START, rest))
        for offset in range(0, 300, 7):
            start_ms, end_ms = START + offset * MINUTE, START + 1000 * MINUTE
            found = await store.segments(FEED, start_ms=start_ms, end_ms=end_ms)
            assert found["WHOLE"] == (Segment(start_ms, end_ms),)
            bars = [ms for segment in found["HOLED"] for ms in FEED.interval.opens(segment.start_ms, segment.end_ms)]
            assert bars == [START + minute * MINUTE for minute in range(offset, 1000) if minute not in holes]
            assert all(one.end_ms < other.start_ms for one, other in pairwise(found["HOLED"]))


async def test_segments_can_be_asked_of_some_symbols(tmp_path: Path) -> None:
    """A symbol without bars is not in the answer; one that was not asked for neither."""
    async with opened(tmp_path / "a.duckdb") as store:
        await store.commit(period(0))
        found = await store.segments(FEED, start_ms=START, end_ms=START + MINUTE, symbols=["S1USDT", "NEWUSDT"])
        assert found == {"S1USDT": (Segment(START, START + MINUTE),)}
        assert await store.segments(FEED, start_ms=START, end_ms=START + MINUTE, symbols=[]) == {}


async def test_latest_and_last_funding_times_are_the_newest_of_each_symbol(tmp_path: Path) -> None:
    """Milliseconds by symbol; empty for an empty feed."""
    async with opened(tmp_path / "a.duckdb") as store:
        assert await store.latest(FEED) == {}
        assert await store.last_funding_times(FEED) == {}
        rates = tuple(FundingRate("A", START + n, "SETTLED", 0.1, None) for n in range(3))
        await store.commit(
            Batch(FEED.name, START, (candle("A", 3), candle("A", 1), candle("B", 2)), funding_rates=rates)
        )
        assert await store.latest(FEED) == {"A": START + 3 * MINUTE, "B": START + 2 * MINUTE}
        assert await store.last_funding_times(FEED) == {"A": START + 2}


async def test_gaps_are_found_by_state(tmp_path: Path) -> None:
    """Open ones by default, oldest first, as they were written."""
    gaps = tuple(
        Gap(
            "A",
            START + n * MINUTE,
            START + (n + 1) * MINUTE,
            state,
            "late",
            START,
            None if state is GapState.OPEN else 7,
        )
        for n, state in enumerate([GapState.ABSENT, GapState.OPEN, GapState.FILLED, GapState.OPEN])
    )
    async with opened(tmp_path / "a.duckdb") as store:
        await store.commit(Batch(FEED.name, START, gaps=gaps))
        assert await store.gaps(FEED) == [gaps[1], gaps[3]]
        assert await store.gaps(FEED, states=[GapState.ABSENT, GapState.FILLED]) == [gaps[0], gaps[2]]
        await store.commit(Batch(FEED.name, START, gaps=(replace(gaps[1], state=GapState.FILLED, closed_at_ms=9),)))
        assert await store.gaps(FEED) == [gaps[3]]


async def test_unfinished_runs_come_with_what_was_ready(tmp_path: Path) -> None:
    """Complete periods and those before `since` are left out; a period of which nothing was ready is there. What REST
    brought is counted, whatever the run said when it was written."""
    runs = tuple(
        Run(START + n * MINUTE, 3, 2, START if n == 1 else None, None, 0, ("C",) if n == 2 else ()) for n in range(4)
    )
    sources = {"A": "ws", "B": "rest", EXGINFO_ITEM: "rest"}
    ready = tuple(Ready(START + 2 * MINUTE, item, START, source) for item, source in sources.items())
    async with opened(tmp_path / "a.duckdb") as store:
        await store.commit(Batch(FEED.name, START, ready=ready, runs=runs))
        assert await store.unfinished_runs(FEED, since_ms=START + MINUTE) == [
            (replace(runs[2], repaired=1), frozenset(sources)),
            (runs[3], frozenset()),
        ]


async def test_a_feed_is_taken_up_on_the_grid_that_the_file_has(tmp_path: Path) -> None:
    """The stored 3d anchor comes back; a grid that the exchange told replaces it; the depth is kept up to date."""
    anchor_ms = START - START % DAY_MS + DAY_MS
    plain = make_feed("usdt_spot", "3d")
    async with opened(tmp_path / "a.duckdb") as store:
        told = replace(plain, interval=plain.interval.anchored(anchor_ms))
        assert await store.add_feed(told, num_candles=10) == told
        assert await store.add_feed(plain, num_candles=20) == told
        moved = replace(plain, interval=plain.interval.anchored(anchor_ms + 2 * DAY_MS))
        assert await store.add_feed(moved, num_candles=20) == moved
        rows = await select(
            store, "SELECT num_candles, \"interval\", market FROM main.feeds WHERE feed = 'usdt_spot_3d'"
        )
        assert rows == [(20, "3d", "spot")]
    async with opened(tmp_path / "a.duckdb") as store:
        assert await store.add_feed(FEED, num_candles=1500) == FEED


async def test_what_is_older_than_the_boundary_goes(tmp_path: Path) -> None:
    """Candles, readiness, runs and gaps before it are deleted, those from it on stay; the number of candles is told."""
    async with opened(tmp_path / "a.duckdb") as store:
        for minute in range(6):
            await store.commit(period(minute))
        assert await store.retain(FEED, before_ms=START + 4 * MINUTE) == 20
        assert {open_ms for _, open_ms in await stored_candles(store)} == {START + 4 * MINUTE, START + 5 * MINUTE}
        for table in ("run_status", "runs"):
            times = await select(store, f"SELECT DISTINCT epoch_ms(run_time) FROM {FEED.name}.{table} ORDER BY 1")
            assert times == [(START + 5 * MINUTE,), (START + 6 * MINUTE,)]
        assert await store.retain(FEED, before_ms=START) == 0


async def test_a_file_with_retention_does_not_grow_without_bound(tmp_path: Path) -> None:
    """After a thousand periods the file is no larger than it was after the first few hundred, nor is its log."""
    path = tmp_path / "a.duckdb"
    sizes = []
    async with opened(path) as store:
        for minute in range(1000):
            await store.commit(period(minute, symbols=40))
            if minute % 5:
                continue
            await store.retain(FEED, before_ms=START + (minute - 50) * MINUTE)
            if store.wal_bytes() > 500_000:
                await store.checkpoint()
                assert store.wal_bytes() == 0
                sizes.append(path.stat().st_size)  # a stat opens nothing
        assert len(await stored_candles(store)) == 40 * 55
    assert len(sizes) > 5
    assert sizes[-1] <= 1.5 * max(sizes[: len(sizes) // 2])


async def test_the_views_span_feeds(tmp_path: Path) -> None:
    """Each table is there over all feeds with the feed in front, also for a feed that was added later."""
    later = make_feed("usdt_spot", "1M")
    async with opened(tmp_path / "a.duckdb") as store:
        await store.commit(period(0))
        await store.add_feed(later, num_candles=5)
        opens = [later.interval.shift(later.interval.floor(START), n) for n in (0, 1, 3)]
        await store.commit(bars(later, "A", opens))
        for table in (
            "candles",
            "run_status",
            "runs",
            "exginfo",
            "funding_rates",
            "funding_snapshots",
            "gaps",
            "corrections",
        ):
            columns = await select(store, f"DESCRIBE main.{table}")
            assert columns[0][0] == "feed"
        assert await select(store, "SELECT feed, count(*) FROM candles GROUP BY feed ORDER BY feed") == [
            ("usdt_perp_1m", 5),
            ("usdt_spot_1mo", 3),
        ]
        assert await select(
            store, "SELECT symbol, bars, expected_bars, missing FROM coverage WHERE feed = 'usdt_spot_1mo'"
        ) == [("A", 3, 4, 1)]
        assert await select(store, "SELECT count(*) FROM latest_candles WHERE feed = 'usdt_perp_1m'") == [(5,)]
        assert await select(store, "SELECT expected, ready, waiting, complete, late FROM readiness") == [
            (5, 5, 0, True, 0)
        ]
        assert await select(store, "SELECT feed, seconds FROM latency") == [("usdt_perp_1m", 0.1)]


@pytest.mark.parametrize("interval", ["1s", "5m", "8h", "1d", "3d", "1w", "1M"])
async def test_coverage_counts_the_bars_of_every_grid(tmp_path: Path, interval: str) -> None:
    """From the first bar to the last, so many are expected and so many are missing, on an anchored grid too."""
    feed = make_feed("usdt_spot", interval)
    feed = replace(feed, interval=feed.interval.anchored(START - START % DAY_MS + DAY_MS))
    opens = [feed.interval.shift(feed.interval.floor(START), n) for n in range(30)]
    async with opened(tmp_path / "a.duckdb") as store:
        await store.add_feed(feed, num_candles=5)
        await store.commit(bars(feed, "A", [ms for n, ms in enumerate(opens) if n not in (3, 4, 17)]))
        await store.commit(bars(feed, "B", opens[5:6]))
        found = await select(
            store,
            "SELECT symbol, epoch_ms(first_open_time), epoch_ms(last_open_time), bars, expected_bars, missing "
            f"FROM coverage WHERE feed = '{feed.name}' ORDER BY symbol",
        )
        assert found == [("A", opens[0], opens[-1], 27, 30, 3), ("B", opens[5], opens[5], 1, 1, 0)]


async def test_the_latest_candle_of_a_symbol_is_found_however_old_it_is(tmp_path: Path) -> None:
    """A symbol that stopped trading days ago has a row among the latest, beside those that trade."""
    feed = make_feed("usdt_perp", "1h")
    opens = [feed.interval.shift(feed.interval.floor(START), n) for n in range(100)]
    async with opened(tmp_path / "a.duckdb") as store:
        await store.add_feed(feed, num_candles=5)
        for symbol, until in (("TRADING", 100), ("RESTING", 90), ("DELISTED", 7), ("ONCE", 1)):
            await store.commit(bars(feed, symbol, opens[:until]))
        found = await select(
            store, "SELECT feed, symbol, epoch_ms(open_time) FROM latest_candles ORDER BY open_time DESC"
        )
        assert found == [
            (feed.name, "TRADING", opens[99]),
            (feed.name, "RESTING", opens[89]),
            (feed.name, "DELISTED", opens[6]),
            (feed.name, "ONCE", opens[0]),
        ]


async def test_a_filter_by_feed_leaves_the_other_feeds_unread(tmp_path: Path) -> None:
    """The plan of a view filtered by feed has the tables of that feed alone."""
    async with opened(tmp_path / "a.duckdb") as store:
        await store.add_feed(make_feed("usdt_spot", "1m"), num_candles=5)
        for view in ("candles", "runs", "latest_candles", "latency", "coverage"):
            plan = await select(store, f"EXPLAIN SELECT * FROM main.{view} WHERE feed = 'usdt_spot_1m'")
            assert "usdt_perp_1m" not in plan[0][1], view
            assert "usdt_spot_1m" in plan[0][1]


def test_grids_know_months() -> None:
    """A month's segment ends where the next month begins."""
    assert Interval.parse("1M").next(to_ms(datetime(2024, 2, 1))) == to_ms(datetime(2024, 3, 1))
