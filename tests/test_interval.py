"""Interval arithmetic: whatever the interval, its parts agree with each other."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmacdb.clock import from_ms
from bmacdb.errors import UsageError
from bmacdb.interval import DAY_MS, INTERVALS, MINUTE_MS, Interval

END_MS = 4_102_444_800_000  # the year 2100

plain = st.sampled_from([Interval.parse(name) for name in INTERVALS])
anchored = st.integers(0, END_MS // DAY_MS).map(lambda day: Interval.parse("3d").anchored(day * DAY_MS))
intervals = plain | anchored
instants = st.integers(10 * DAY_MS, END_MS)
few = st.integers(0, 400)


@given(interval=intervals, ms=instants)
def test_every_instant_lies_in_exactly_one_bar(interval: Interval, ms: int) -> None:
    """floor gives the bar, next where it ends, and both lie on the grid."""
    opened = interval.floor(ms)
    assert opened <= ms < interval.next(opened)
    assert interval.on_grid(opened)
    assert interval.on_grid(interval.next(opened))
    assert interval.on_grid(ms) is (ms == opened)
    assert interval.floor(interval.next(opened) - 1) == opened


@given(interval=intervals, ms=instants)
def test_the_boundary_after_an_instant_is_the_end_of_its_bar(interval: Interval, ms: int) -> None:
    """Always later, also when the instant is a boundary itself."""
    boundary = interval.boundary_after(ms)
    assert boundary > ms
    assert boundary == interval.next(interval.floor(ms))


@given(interval=intervals, ms=instants, bars=few)
def test_shifting_counts_bars(interval: Interval, ms: int, bars: int) -> None:
    """Forth and back again, one by one or at once, and count says how many."""
    opened = interval.floor(ms)
    later = interval.shift(opened, bars)
    assert interval.on_grid(later)
    assert interval.shift(later, -bars) == opened
    assert interval.count(opened, later) == bars
    assert interval.count(later, opened) == 0
    assert interval.shift(interval.shift(opened, bars), 1) == interval.shift(opened, bars + 1)


@given(interval=intervals, ms=instants, bars=few)
def test_the_open_times_of_a_window_are_those_that_count_counts(interval: Interval, ms: int, bars: int) -> None:
    """Ascending, each the next of the one before, the end not included."""
    start = interval.floor(ms)
    end = interval.shift(start, bars)
    opens = list(interval.opens(start, end))
    assert len(opens) == interval.count(start, end)
    assert all(interval.next(first) == second for first, second in itertools.pairwise(opens))
    assert opens[:1] == ([start] if bars else [])
    assert end not in opens


@given(interval=intervals, ms=instants)
def test_no_bar_is_shorter_than_the_length(interval: Interval, ms: int) -> None:
    """`length_ms` is exact for all but months, of which it is the shortest."""
    opened = interval.floor(ms)
    length = interval.next(opened) - opened
    assert length == interval.length_ms if interval.name != "1M" else 28 * DAY_MS <= length <= 31 * DAY_MS


@given(ms=instants)
def test_weeks_open_on_monday_and_months_on_the_first(ms: int) -> None:
    """At midnight UTC."""
    week, month = from_ms(Interval.parse("1w").floor(ms)), from_ms(Interval.parse("1M").floor(ms))
    assert (week.weekday(), week.hour, week.minute, week.second) == (0, 0, 0, 0)
    assert (month.day, month.hour, month.minute, month.second) == (1, 0, 0, 0)


@given(day=st.integers(4, END_MS // DAY_MS), ms=instants)
def test_any_open_time_of_three_days_gives_the_whole_grid(day: int, ms: int) -> None:
    """Anchored at any bar of it, the grid is the same."""
    interval = Interval.parse("3d").anchored(day * DAY_MS)
    assert interval.on_grid(day * DAY_MS)
    assert interval.anchored(interval.floor(ms)) == interval


@given(interval=plain, ms=instants)
def test_only_three_days_have_a_grid_to_choose(interval: Interval, ms: int) -> None:
    """Anchoring any other interval changes nothing."""
    assert interval.name == "3d" or interval.anchored(ms) == interval


@pytest.mark.parametrize("interval", [Interval.parse(name) for name in INTERVALS], ids=lambda interval: interval.name)
def test_nothing_is_shifted_before_1970(interval: Interval) -> None:
    """However far back a window would reach."""
    opened = interval.shift(interval.floor(20 * DAY_MS), -100_000_000)
    assert 0 <= opened < 7 * DAY_MS


@pytest.mark.parametrize(
    ("name", "hint"),
    [("7m", "5m"), ("60m", "1h"), ("24h", "1d"), ("1 m", "1m"), ("1mo", "1M"), ("1H", "1h"), ("90s", "1m")],
)
def test_a_wrong_interval_is_told_the_nearest(name: str, hint: str) -> None:
    """With the value, and all there are."""
    with pytest.raises(UsageError) as caught:
        Interval.parse(name)
    assert repr(name) in str(caught.value)
    assert str(caught.value).endswith(f"Did you mean {hint}?")
    assert ", ".join(INTERVALS) in str(caught.value)


@pytest.mark.parametrize("name", ["", "0m", "m", "-5m", "1e3m", "１m", "five minutes"])
def test_nonsense_is_no_interval(name: str) -> None:
    """Whatever else may be suggested."""
    with pytest.raises(UsageError):
        Interval.parse(name)


def test_the_length_as_sql_takes_it() -> None:
    """Months are months, not so many days."""
    assert [Interval.parse(name).step for name in ("1s", "5m", "1h", "3d", "1w", "1M")] == [
        "1 second",
        "5 minute",
        "1 hour",
        "3 day",
        "1 week",
        "1 month",
    ]
    assert Interval.parse("1m").length_ms == MINUTE_MS
