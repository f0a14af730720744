"""Holes in the record are filled, proven absent, or asked for again."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from bmacdb.interval import MINUTE_MS, Interval
from bmacdb.model import Gap, GapState
from bmacdb.recorder.gaps import PROOF_AGE_MS, GapBook, settle

MINUTE = Interval.parse("1m")
T0 = 1_700_000_040_000 // MINUTE_MS * MINUTE_MS
LONG_AFTER = T0 + 1000 * MINUTE_MS


def gap(bars: int) -> Gap:
    return Gap("BTCUSDT", T0, T0 + bars * MINUTE_MS, GapState.OPEN, "late past the deadline", T0)


def test_a_bar_that_came_fills_its_part_of_the_gap() -> None:
    rows = settle(gap(3), MINUTE, present={T0 + MINUTE_MS}, asked=(0, 0), evidence_ms=None, answered_ms=LONG_AFTER)
    assert [(row.gap_start_ms - T0, row.gap_end_ms - T0, row.state) for row in rows] == [
        (0, MINUTE_MS, GapState.OPEN),
        (MINUTE_MS, 2 * MINUTE_MS, GapState.FILLED),
        (2 * MINUTE_MS, 3 * MINUTE_MS, GapState.OPEN),
    ]


def test_a_bar_is_absent_only_when_a_later_one_exists_and_the_answer_had_time() -> None:
    asked = (T0, T0 + MINUTE_MS)
    later = T0 + 5 * MINUTE_MS

    def state(evidence_ms: int | None, answered_ms: int) -> GapState:
        (row,) = settle(gap(1), MINUTE, present=(), asked=asked, evidence_ms=evidence_ms, answered_ms=answered_ms)
        return row.state

    assert state(later, LONG_AFTER) is GapState.ABSENT
    assert state(None, LONG_AFTER) is GapState.OPEN
    assert state(T0 - MINUTE_MS, LONG_AFTER) is GapState.OPEN
    assert state(later, T0 + MINUTE_MS + PROOF_AGE_MS - 1) is GapState.OPEN
    assert state(later, T0 + MINUTE_MS + PROOF_AGE_MS) is GapState.ABSENT


@given(
    bars=st.integers(1, 40),
    present=st.sets(st.integers(-5, 45)),
    asked=st.tuples(st.integers(-5, 45), st.integers(-5, 45)),
    evidence=st.none() | st.integers(-5, 60),
    minutes=st.integers(0, 60),
)
def test_settling_keeps_every_bar_of_the_gap_once_and_in_order(
    bars: int, present: set[int], asked: tuple[int, int], evidence: int | None, minutes: int
) -> None:
    rows = settle(
        gap(bars),
        MINUTE,
        present={T0 + n * MINUTE_MS for n in present},
        asked=(T0 + asked[0] * MINUTE_MS, T0 + asked[1] * MINUTE_MS),
        evidence_ms=None if evidence is None else T0 + evidence * MINUTE_MS,
        answered_ms=T0 + minutes * MINUTE_MS,
    )
    opens = [open_ms for row in rows for open_ms in MINUTE.opens(row.gap_start_ms, row.gap_end_ms)]
    assert opens == [T0 + n * MINUTE_MS for n in range(bars)]
    assert rows[0].gap_start_ms == T0, "the first row replaces the gap"
    for row in rows:
        for open_ms in MINUTE.opens(row.gap_start_ms, row.gap_end_ms):
            assert (row.state is GapState.FILLED) == ((open_ms - T0) // MINUTE_MS in present)
        assert (row.closed_at_ms is None) == (row.state is GapState.OPEN)


def test_gaps_are_asked_for_less_and_less_often() -> None:
    book = GapBook(MINUTE, page_rows=499, settle_ms=15_000)
    start_ms = T0 + MINUTE_MS
    book.add("BTCUSDT", T0, start_ms, "late past the deadline", start_ms)
    asked = [s for s in range(6 * 3600) if any(True for _ in book.due(start_ms + s * 1000))]
    waits = [after - before for before, after in pairwise(asked)]
    assert asked[0] == 20
    assert waits == sorted(waits)
    assert waits[-1] == 3600


def test_a_gap_longer_than_a_page_is_asked_for_page_by_page_without_waiting() -> None:
    book = GapBook(MINUTE, page_rows=499, settle_ms=15_000)
    book.add("BTCUSDT", T0, T0 + 1200 * MINUTE_MS, "recorder was down", T0)
    now_ms, pages = T0 + 2000 * MINUTE_MS, 0
    while len(book):
        (symbol, start_ms, end_ms), *rest = book.due(now_ms)
        assert not rest
        assert MINUTE.count(start_ms, end_ms) <= 499
        book.settle(
            symbol,
            present=set(MINUTE.opens(start_ms, end_ms)),
            asked=(start_ms, end_ms),
            evidence_ms=end_ms,
            answered_ms=now_ms,
        )
        pages += 1
    assert pages == 3


def test_a_gap_that_grows_stays_one_row() -> None:
    book = GapBook(MINUTE, page_rows=499, settle_ms=15_000)
    book.add("BTCUSDT", T0, T0 + MINUTE_MS, "late", T0)
    row = book.add("BTCUSDT", T0 + MINUTE_MS, T0 + 2 * MINUTE_MS, "late", T0)
    assert (row.gap_start_ms, row.gap_end_ms) == (T0, T0 + 2 * MINUTE_MS)
    assert len(book) == 1
    assert book.holds("BTCUSDT", T0 + MINUTE_MS)
    assert not book.holds("BTCUSDT", T0 + 2 * MINUTE_MS)


def test_what_the_exchange_refuses_is_asked_for_ever_more_rarely() -> None:
    """From an hour to a week, however many of its pages are refused at once."""
    book = GapBook(MINUTE, page_rows=499, settle_ms=0)
    book.add("GONEUSDT", T0, T0 + 60_000, "refused", T0)
    asked: list[int] = []
    for hour in range(1, 24 * 60):
        now_ms = T0 + hour * 60 * MINUTE_MS
        if list(book.due(now_ms)):
            asked.append(hour)
            for _ in range(3):
                book.postpone("GONEUSDT", now_ms)
    pauses = [later - earlier for earlier, later in pairwise(asked)]
    assert pauses[:5] == [1, 1, 2, 4, 8]
    assert pauses[-1] == 7 * 24
