"""Which offsets there are, and which bars end when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmacdb.errors import UsageError
from bmacdb.interval import DAY_MS, INTERVALS, MINUTE_MS, Interval
from bmacdb.offset import Resampling, offsets_between, parse_resampling
from bmacdb.symbols import make_feed, parse_feed

PAIRS = [
    (base, to)
    for base in INTERVALS
    for to in INTERVALS
    if "1M" not in (base, to)
    and Interval.parse(to).length_ms > Interval.parse(base).length_ms
    and Interval.parse(to).length_ms % Interval.parse(base).length_ms == 0
]


def resampling_of(base: str, to: str) -> Resampling:
    return Resampling.of(make_feed("usdt_spot", base), to)


def test_an_hour_of_five_minute_bars_has_twelve_offsets_and_a_day_288() -> None:
    assert offsets_between(Interval.parse("5m"), Interval.parse("1h")) == tuple(range(0, 60, 5))
    assert len(offsets_between(Interval.parse("5m"), Interval.parse("1d"))) == 288
    assert offsets_between(Interval.parse("1s"), Interval.parse("1m")) == (0,)
    assert len(offsets_between(Interval.parse("1s"), Interval.parse("1h"))) == 60


@given(st.sampled_from(PAIRS), st.integers(0, 10**9))
def test_at_every_run_time_on_a_whole_minute_the_bars_of_one_offset_end(pair: tuple[str, str], number: int) -> None:
    resampling = resampling_of(*pair)
    base = resampling.feed.interval
    run_time_ms = base.shift(base.floor(400 * DAY_MS), number % 100_000)
    open_ms = resampling.ending_at(run_time_ms)
    if base.name == "1s" and run_time_ms % MINUTE_MS:
        assert open_ms is None
        return
    assert open_ms == run_time_ms - resampling.to.length_ms
    offset = resampling.offset_of(open_ms)
    assert offset in resampling.offsets
    assert offset is not None
    # The offset is what the bar is away from the grid of its own interval.
    assert resampling.to.floor(open_ms) + offset * MINUTE_MS == open_ms
    steps = range(0, resampling.parts, max(1, MINUTE_MS // base.length_ms))
    ends = [resampling.offset_of(open_ms + step * base.length_ms) for step in steps]
    assert sorted(end for end in ends if end is not None) == list(resampling.offsets), "each once a round"


@given(st.sampled_from([pair for pair in PAIRS if pair[0] != "1s"]), st.integers(0, 300), st.integers(1, 300))
def test_the_bars_that_parts_touch_are_those_that_have_one_of_them(
    pair: tuple[str, str], place: int, count: int
) -> None:
    resampling = resampling_of(*pair)
    step = resampling.feed.interval.length_ms
    start_ms = resampling.feed.interval.floor(400 * DAY_MS) + place * step
    end_ms = start_ms + count * step
    first_ms, last_ms = resampling.touched(start_ms, end_ms)
    length_ms = resampling.to.length_ms
    for open_ms in (first_ms, last_ms - step):
        assert open_ms < end_ms
        assert open_ms + length_ms > start_ms
    assert first_ms - step + length_ms <= start_ms, "the bar before has no part in the range"
    needed = resampling.needed(first_ms, last_ms)
    assert needed == (first_ms, last_ms - step + length_ms)


@given(st.integers(0, 10**6), st.integers(0, 5_000), st.integers(-1, 700))
def test_pieces_cover_a_range_once_the_newest_first(start: int, steps: int, bars: int) -> None:
    resampling = resampling_of("5m", "1h")
    step_ms = resampling.feed.interval.length_ms
    start_ms, end_ms = start * step_ms, (start + steps) * step_ms
    spans = list(resampling.spans(start_ms, end_ms, bars))
    assert all(0 < end - begin <= max(bars, 1) * step_ms for begin, end in spans)
    edges = [end for _, end in spans] + [start_ms]
    assert edges[0] == end_ms
    assert [begin for begin, _ in spans] == edges[1:]


@pytest.mark.parametrize(
    ("base", "to", "told"),
    [
        ("5m", "1M", "months differ in length"),
        ("1h", "5m", "5m is not longer than 1h"),
        ("1h", "1h", "1h is not longer than 1h"),
        ("3m", "5m", "3m does not divide 5m"),
        ("4h", "6h", "4h does not divide 6h"),
        ("5m", "7m", "Did you mean 5m"),
    ],
)
def test_a_pair_that_has_no_bars_is_refused_with_the_reason(base: str, to: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        resampling_of(base, to)


def test_offsets_may_be_chosen_and_a_wrong_one_is_told() -> None:
    feed = parse_feed("usdt_perp_5m")
    chosen = Resampling.of(feed, "1h", [30, 0])
    assert chosen.offsets == (0, 30)
    assert chosen.ending_at(60 * MINUTE_MS) == 0
    assert chosen.ending_at(65 * MINUTE_MS) is None
    with pytest.raises(UsageError, match="offset 7 is none of 5m -> 1h: they are multiples of 5 from 0 to 55"):
        Resampling.of(feed, "1h", [0, 7])
    with pytest.raises(UsageError, match="no offset"):
        Resampling.of(feed, "1h", [])


def test_a_pair_is_written_with_its_feed_or_stands_for_every_feed_that_divides_it() -> None:
    feeds = (parse_feed("usdt_perp_5m"), parse_feed("usdt_spot_1m"), parse_feed("coin_perp_4h"))
    assert [one.name for one in parse_resampling("usdt_perp_5m -> 1h", feeds)] == ["usdt_perp_5m_to_1h"]
    assert [one.name for one in parse_resampling("1h", feeds)] == ["usdt_perp_5m_to_1h", "usdt_spot_1m_to_1h"]
    for text, told in (
        ("usdt_perp_1m -> 1h", "usdt_perp_1m is not recorded"),
        ("3m -> 1h", "TRADE_TYPE_INTERVAL"),
        ("2x", "not one of"),
        ("1s", "not longer"),
    ):
        with pytest.raises(UsageError, match=told):
            parse_resampling(text, feeds)
