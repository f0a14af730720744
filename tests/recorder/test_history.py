"""History asks for what is missing, newest first, in pages that the exchange sells cheapest."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bmacdb.interval import INTERVALS, MINUTE_MS, Interval
from bmacdb.model import Segment
from bmacdb.recorder.history import missing, rounds
from bmacdb.symbols import make_feed

from .support import FEED, T0


@given(
    covered=st.lists(st.tuples(st.integers(-10, 60), st.integers(1, 20)), max_size=8),
    bars=st.integers(0, 50),
)
def test_missing_is_exactly_what_no_segment_covers(covered: list[tuple[int, int]], bars: int) -> None:
    minute = Interval.parse("1m")
    segments = [Segment(T0 + start * MINUTE_MS, T0 + (start + length) * MINUTE_MS) for start, length in covered]
    holes = missing(minute, T0, T0 + bars * MINUTE_MS, segments)
    found = [open_ms for hole in holes for open_ms in minute.opens(hole.start_ms, hole.end_ms)]
    expected = [
        T0 + n * MINUTE_MS
        for n in range(bars)
        if not any(s.start_ms <= T0 + n * MINUTE_MS < s.end_ms for s in segments)
    ]
    assert found == expected
    assert all(hole.start_ms < hole.end_ms for hole in holes)


@given(interval=st.sampled_from([name for name in INTERVALS if name != "1s"]), bars=st.integers(1, 1300))
def test_rounds_cover_every_hole_once_newest_first_in_pages(interval: str, bars: int) -> None:
    feed = make_feed("usdt_perp", interval)
    end_ms = feed.interval.floor(T0)
    start_ms = feed.interval.shift(end_ms, -bars)
    plan = rounds(feed, {"A": [Segment(start_ms, end_ms)], "B": [], "C": [Segment(start_ms, end_ms)]}, 499)
    for symbol in ("A", "C"):
        pages = [page for pages in plan for page in pages if page.symbol == symbol]
        assert all(feed.interval.count(page.start_ms, page.end_ms) <= 499 for page in pages)
        assert pages[0].end_ms == end_ms
        assert [page.start_ms for page in pages[:-1]] == [page.end_ms for page in pages[1:]]
        assert pages[-1].start_ms == start_ms
    assert all(len({page.symbol for page in pages}) == len(pages) for pages in plan), "one page a symbol and round"


def test_a_short_hole_is_one_short_page() -> None:
    hole = Segment(T0, T0 + 3 * MINUTE_MS)
    (only,) = rounds(FEED, {"BTCUSDT": [hole]}, 499)
    assert [(page.start_ms, page.end_ms) for page in only] == [(hole.start_ms, hole.end_ms)]
