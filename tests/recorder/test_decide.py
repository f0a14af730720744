"""The Dispatcher's decisions: what is ready, what is late, what is missing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmacdb.interval import MINUTE_MS
from bmacdb.model import Gap, GapState, Run, Source
from bmacdb.recorder.decide import DOUBT_MS, FeedState
from bmacdb.recorder.decision import Decision
from bmacdb.recorder.events import Notice, RunComplete, RunLate, RunStarted, SymbolsChanged
from bmacdb.recorder.messages import Boundary, ExchangeInfoFetched, Fetch, FetchFailed, Message, Purpose, Tick
from bmacdb.recorder.runs import REPAIR_DEADLINE_MS

from .support import FEED, T0, candle, closed, info, listed, live_state, page

BAR = T0 - MINUTE_MS
"""The open time of the bar that closes at T0."""


def take(state: FeedState, *messages: Message, at_ms: int) -> Decision:
    decision = Decision()
    for message in messages:
        state.take(message, at_ms, decision)
    return decision


def test_a_candle_and_the_readiness_that_vouches_for_it_stand_in_one_transaction() -> None:
    state = live_state("BTCUSDT", "ETHUSDT")
    decision = take(state, Boundary(FEED.name, T0), closed("BTCUSDT", BAR), at_ms=T0 + 50)
    assert [c.symbol for c in decision.candles] == ["BTCUSDT"]
    assert [(r.run_time_ms, r.item, r.source) for r in decision.ready] == [(T0, "BTCUSDT", "ws")]
    assert decision.runs[T0] == Run(T0, 2, 1, None, "BTCUSDT", 0, ())
    assert not decision.completed


def test_the_last_symbol_completes_the_run_in_the_same_transaction() -> None:
    state = live_state("BTCUSDT", "ETHUSDT")
    take(state, Boundary(FEED.name, T0), closed("BTCUSDT", BAR), at_ms=T0 + 50)
    decision = take(state, closed("ETHUSDT", BAR, after_ms=90), at_ms=T0 + 90)
    assert decision.runs[T0] == Run(T0, 2, 2, T0 + 90, "ETHUSDT", 0, ())
    assert decision.completed == [T0]
    assert [event.late_ms for event in decision.events if isinstance(event, RunComplete)] == [90]


def test_a_candle_before_the_alarm_opens_the_run() -> None:
    state = live_state("BTCUSDT")
    decision = take(state, closed("BTCUSDT", BAR, after_ms=-20), at_ms=T0 - 20)
    assert decision.completed == [T0]
    assert not take(state, Boundary(FEED.name, T0), at_ms=T0).runs, "the alarm does not open it again"


def test_doubled_unknown_unaligned_and_future_frames_do_no_harm() -> None:
    state = live_state("BTCUSDT", "ETHUSDT")
    take(state, Boundary(FEED.name, T0), closed("BTCUSDT", BAR), at_ms=T0 + 50)
    assert take(state, closed("BTCUSDT", BAR), at_ms=T0 + 60).batch(FEED.name, T0 + 60) is None
    for frame in (closed("NOSUCH", BAR), closed("ETHUSDT", BAR + 1), closed("ETHUSDT", T0, after_ms=-MINUTE_MS)):
        assert take(state, frame, at_ms=T0 + 60).batch(FEED.name, T0 + 60) is None
    assert state.unknown_frames == 3


def test_rest_is_asked_after_the_close_time_out_and_every_ten_seconds() -> None:
    state = live_state("BTCUSDT", "ETHUSDT")
    take(state, Boundary(FEED.name, T0), closed("BTCUSDT", BAR), at_ms=T0 + 50)
    asked = []
    for second in range(1, 40):
        decision = take(state, Tick(FEED.name), at_ms=T0 + second * 1000)
        for fetch in decision.fetches:
            assert (fetch.symbol, fetch.start_ms, fetch.end_ms, fetch.purpose) == ("ETHUSDT", BAR, T0, Purpose.LATE)
            asked.append(second)
            take(state, FetchFailed(fetch, "no answer", refused=False), at_ms=T0 + second * 1000)
    assert asked == [15, 25, 35]


def test_no_second_request_for_a_bar_while_the_first_is_under_way() -> None:
    state = live_state("BTCUSDT")
    take(state, Boundary(FEED.name, T0), at_ms=T0)
    fetches = [f for s in range(1, 40) for f in take(state, Tick(FEED.name), at_ms=T0 + s * 1000).fetches]
    assert len(fetches) == 1


def test_a_late_answer_completes_the_run_as_repaired() -> None:
    state = live_state("BTCUSDT")
    take(state, Boundary(FEED.name, T0), at_ms=T0)
    take(state, Tick(FEED.name), at_ms=T0 + 15_000)
    answer = page("BTCUSDT", BAR, T0, [BAR], purpose=Purpose.LATE, answered_ms=T0 + 15_100)
    decision = take(state, answer, at_ms=T0 + 15_100)
    assert decision.runs[T0] == Run(T0, 1, 1, T0 + 15_100, "BTCUSDT", 1, ())
    assert decision.owed == [("BTCUSDT", BAR)], "a bar with trades that the stream did not bring"


def test_past_the_deadline_the_run_and_the_gaps_name_what_is_missing() -> None:
    state = live_state("BTCUSDT", "ETHUSDT")
    take(state, Boundary(FEED.name, T0), closed("BTCUSDT", BAR), at_ms=T0 + 50)
    decision = take(state, Tick(FEED.name), at_ms=T0 + REPAIR_DEADLINE_MS)
    assert decision.runs[T0].missing == ("ETHUSDT",)
    assert [(gap.symbol, gap.gap_start_ms, gap.state) for gap in decision.gaps.values()] == [
        ("ETHUSDT", BAR, GapState.OPEN)
    ]
    assert [event.missing for event in decision.events if isinstance(event, RunLate)] == [("ETHUSDT",)]


def test_a_bar_that_comes_past_the_deadline_is_named_even_when_the_tick_is_late() -> None:
    """On a busy machine bars may be taken before the tick that closes the deadline: late they are all the same."""
    state = live_state("BTCUSDT", "ETHUSDT")
    take(state, Boundary(FEED.name, T0), closed("BTCUSDT", BAR), at_ms=T0 + 50)
    late_ms = REPAIR_DEADLINE_MS + 500
    decision = take(state, closed("ETHUSDT", BAR, after_ms=late_ms), Tick(FEED.name), at_ms=T0 + late_ms + 100)
    assert decision.runs[T0].missing == ("ETHUSDT",)
    assert decision.runs[T0].complete_at_ms == T0 + late_ms
    assert [gap.state for gap in decision.gaps.values()] == [GapState.FILLED]
    assert [event.missing for event in decision.events if isinstance(event, RunLate)] == [("ETHUSDT",)]


def test_a_bar_that_had_to_wait_to_be_written_was_not_ready_when_it_was_heard() -> None:
    """A full disk holds the queue up for minutes: what nobody could read was not ready, and is named as late."""
    state = live_state("BTCUSDT", "ETHUSDT", "SOLUSDT")
    first = take(state, Boundary(FEED.name, T0), closed("BTCUSDT", BAR), at_ms=T0 + 50)
    at_ms = T0 + 2 * MINUTE_MS
    state.delayed(first, at_ms)
    assert [row.ready_at_ms for row in first.ready] == [at_ms]
    assert first.runs[T0].missing == ("BTCUSDT",)
    decision = take(state, closed("ETHUSDT", BAR), closed("SOLUSDT", BAR), at_ms=at_ms)
    assert [row.ready_at_ms for row in decision.ready] == [at_ms, at_ms]
    assert decision.runs[T0].missing == ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    assert decision.runs[T0].complete_at_ms == at_ms


def test_a_run_is_complete_no_earlier_than_any_of_its_items() -> None:
    """The one had to wait to be written, the other, heard a moment later, not quite as long."""
    state = live_state("BTCUSDT", "ETHUSDT")
    at_ms = T0 + 4_343
    bars = (closed("BTCUSDT", BAR, after_ms=1_000), closed("ETHUSDT", BAR, after_ms=4_109))
    decision = take(state, Boundary(FEED.name, T0), *bars, at_ms=at_ms)
    assert [row.ready_at_ms for row in decision.ready] == [at_ms, at_ms]
    assert decision.runs[T0].complete_at_ms == at_ms


def test_repair_goes_on_and_the_run_keeps_the_name_of_what_was_late() -> None:
    state = live_state("BTCUSDT")
    take(state, Boundary(FEED.name, T0), at_ms=T0)
    take(state, Tick(FEED.name), at_ms=T0 + REPAIR_DEADLINE_MS)
    (fetch,) = take(state, Tick(FEED.name), at_ms=T0 + REPAIR_DEADLINE_MS + 20_000).fetches
    assert fetch.purpose is Purpose.REPAIR
    at_ms = T0 + 2 * MINUTE_MS
    answer = page("BTCUSDT", fetch.start_ms, fetch.end_ms, [BAR], purpose=Purpose.REPAIR, answered_ms=at_ms)
    decision = take(state, answer, at_ms=at_ms)
    assert decision.runs[T0] == Run(T0, 1, 1, at_ms, "BTCUSDT", 1, ("BTCUSDT",))
    assert [gap.state for gap in decision.gaps.values()] == [GapState.FILLED]
    assert state.open_gaps() == 0


@pytest.mark.parametrize("symbols", [("BTCUSDT",), ("BTCUSDT", "ETHUSDT")])
def test_a_bar_the_exchange_never_made_becomes_absent_and_is_not_asked_for_again(symbols: tuple[str, ...]) -> None:
    """The run that waits for it, or for several such, is forgotten with the last of them."""
    state = live_state(*symbols)
    take(state, Boundary(FEED.name, T0), at_ms=T0)
    take(state, Tick(FEED.name), at_ms=T0 + REPAIR_DEADLINE_MS)
    for n in range(15):
        run_time_ms = T0 + (n + 1) * MINUTE_MS
        bars = [closed(symbol, run_time_ms - MINUTE_MS) for symbol in symbols]
        take(state, *bars, at_ms=run_time_ms + 50)
    at_ms = T0 + 15 * MINUTE_MS
    fetches = take(state, Tick(FEED.name), at_ms=at_ms).fetches
    assert sorted(fetch.symbol for fetch in fetches) == sorted(symbols)
    for fetch in fetches:
        assert T0 in state.runs
        answer = page(fetch.symbol, fetch.start_ms, fetch.end_ms, [T0], purpose=Purpose.REPAIR, answered_ms=at_ms)
        decision = take(state, answer, at_ms=at_ms)
        assert [gap.state for gap in decision.gaps.values()] == [GapState.ABSENT]
    assert T0 not in state.runs
    assert not take(state, Tick(FEED.name), at_ms=at_ms + 24 * 60 * MINUTE_MS).fetches


def test_a_page_of_history_with_a_hole_opens_a_gap() -> None:
    state = live_state("BTCUSDT")
    start_ms, hole_ms = T0 - 10 * MINUTE_MS, T0 - 5 * MINUTE_MS
    present = [ms for ms in FEED.interval.opens(start_ms, T0) if ms != hole_ms]
    answer = page("BTCUSDT", start_ms, T0, present, purpose=Purpose.HISTORY, answered_ms=T0 + 5_000)
    decision = take(state, answer, at_ms=T0 + 5_000)
    assert len(decision.candles) == 9
    assert [(gap.gap_start_ms, gap.state) for gap in decision.gaps.values()] == [(hole_ms, GapState.OPEN)]
    again = take(state, answer, at_ms=T0 + 6_000)
    assert not again.gaps, "the same hole is one gap"


def test_a_page_of_history_that_is_refused_is_a_gap_and_asked_for_again() -> None:
    """Not first when history is looked at again: what is missing can be seen meanwhile."""
    state = live_state("BTCUSDT")
    start_ms = T0 - 10 * MINUTE_MS
    fetch = Fetch(FEED.name, "BTCUSDT", start_ms, T0, Purpose.HISTORY)
    decision = take(state, FetchFailed(fetch, "does not parse", refused=True), at_ms=T0 + 5_000)
    assert [(gap.gap_start_ms, gap.gap_end_ms, gap.state) for gap in decision.gaps.values()] == [
        (start_ms, T0, GapState.OPEN)
    ]
    (again,) = take(state, Tick(FEED.name), at_ms=T0 + 25_000).fetches
    assert (again.start_ms, again.end_ms, again.purpose) == (start_ms, T0, Purpose.REPAIR)


def test_a_hole_in_old_history_is_proven_absent_by_the_page_itself() -> None:
    state = live_state("BTCUSDT")
    start_ms, hole_ms = T0 - 100 * MINUTE_MS, T0 - 50 * MINUTE_MS
    present = [ms for ms in FEED.interval.opens(start_ms, T0) if ms != hole_ms]
    decision = take(state, page("BTCUSDT", start_ms, T0, present, purpose=Purpose.HISTORY, answered_ms=T0), at_ms=T0)
    assert [gap.state for gap in decision.gaps.values()] == [GapState.ABSENT]
    assert state.open_gaps() == 0


def test_a_new_listing_is_listened_to_and_backfilled_and_expected_from_the_next_run() -> None:
    state = live_state("BTCUSDT")
    take(state, closed("BTCUSDT", BAR), at_ms=T0 + 50)
    decision = take(state, listed("BTCUSDT", "NEWUSDT", run_time_ms=T0), at_ms=T0 + 100)
    assert decision.listen == {"BTCUSDT", "NEWUSDT"}
    assert decision.backfill == ["NEWUSDT"]
    assert [(e.listed, e.delisted) for e in decision.events if isinstance(e, SymbolsChanged)] == [(("NEWUSDT",), ())]
    after = take(state, Boundary(FEED.name, T0 + MINUTE_MS), at_ms=T0 + MINUTE_MS)
    assert after.runs[T0 + MINUTE_MS].expected == 2


def test_a_delisted_symbol_is_expected_no_more_and_asked_for_its_last_bars() -> None:
    state = live_state("BTCUSDT", "OLDUSDT")
    take(state, closed("BTCUSDT", BAR), closed("OLDUSDT", BAR - MINUTE_MS), at_ms=T0 + 50)
    decision = take(state, listed("BTCUSDT", halted=["OLDUSDT"], run_time_ms=T0), at_ms=T0 + 100)
    assert decision.listen == {"BTCUSDT"}
    assert decision.completed == [T0], "the run does not wait for it"
    assert decision.exginfo is not None
    assert {i.symbol: i.status for i in decision.exginfo} == {"BTCUSDT": "TRADING", "OLDUSDT": "SETTLING"}
    assert [(gap.symbol, gap.gap_start_ms, gap.gap_end_ms) for gap in decision.gaps.values()] == [("OLDUSDT", BAR, T0)]


def test_the_last_bar_of_a_delisted_symbol_is_asked_for_until_the_exchange_has_it() -> None:
    """The delisting is seen at the boundary, and REST does not have the bar that closed there for some seconds."""
    state = live_state("BTCUSDT", "OLDUSDT")
    take(state, closed("BTCUSDT", BAR), closed("OLDUSDT", BAR - MINUTE_MS), at_ms=T0 + 50)
    take(state, listed("BTCUSDT", halted=["OLDUSDT"], run_time_ms=T0), at_ms=T0 + 100)
    (early,) = take(state, Tick(FEED.name), at_ms=T0 + 20_100).fetches
    assert (early.symbol, early.start_ms) == ("OLDUSDT", BAR)
    nothing = page("OLDUSDT", BAR, T0, [], purpose=Purpose.REPAIR, answered_ms=T0 + 20_200)
    assert not take(state, nothing, at_ms=T0 + 20_200).candles
    (again,) = take(state, Tick(FEED.name), at_ms=T0 + 2 * MINUTE_MS).fetches
    answer = page("OLDUSDT", BAR, again.end_ms, [BAR], purpose=Purpose.REPAIR, answered_ms=T0 + 2 * MINUTE_MS)
    decision = take(state, answer, at_ms=T0 + 2 * MINUTE_MS)
    assert [(bar.symbol, bar.open_time_ms) for bar in decision.candles] == [("OLDUSDT", BAR)]
    assert state.open_gaps() == 0


def test_a_resumed_feed_takes_up_gaps_and_runs_that_were_never_complete() -> None:
    state = FeedState(FEED, close_timeout_ms=15_000, page_rows=499, settle_ms=15_000)
    run = Run(T0, 2, 1, None, "BTCUSDT", 0, ())
    gap = Gap("ETHUSDT", BAR, T0, GapState.OPEN, "late past the deadline", T0)
    state.resume(
        expected=["BTCUSDT", "ETHUSDT"],
        latest={"BTCUSDT": BAR, "ETHUSDT": BAR - MINUTE_MS},
        unfinished=[(run, frozenset({"BTCUSDT"}))],
        gaps=[gap],
        now_ms=T0 + 5 * MINUTE_MS,
    )
    at_ms = T0 + 6 * MINUTE_MS
    take(state, listed("BTCUSDT", "ETHUSDT"), at_ms=at_ms)
    (fetch,) = take(state, Tick(FEED.name), at_ms=at_ms).fetches
    assert (fetch.symbol, fetch.start_ms) == ("ETHUSDT", BAR)
    answer = page("ETHUSDT", fetch.start_ms, fetch.end_ms, [BAR, T0], purpose=Purpose.REPAIR, answered_ms=at_ms)
    decision = take(state, answer, at_ms=at_ms)
    assert decision.runs[T0] == Run(T0, 2, 2, at_ms, "ETHUSDT", 1, ("ETHUSDT",))


def test_history_before_live_makes_no_runs() -> None:
    state = FeedState(FEED, close_timeout_ms=15_000, page_rows=499, settle_ms=15_000)
    take(state, listed("BTCUSDT"), at_ms=T0)
    decision = take(state, closed("BTCUSDT", BAR), at_ms=T0 + 50)
    assert decision.candles
    assert not decision.runs
    assert not decision.ready


SYMBOLS = ("A", "B", "C")


@given(
    st.lists(
        st.tuples(st.sampled_from(SYMBOLS), st.integers(0, 3), st.sampled_from(["ws", "rest", "tick", "boundary"])),
        max_size=60,
    )
)
def test_whatever_comes_in_whatever_order_readiness_never_lies(steps: list[tuple[str, int, str]]) -> None:
    """A symbol is ready once, only with its candle, and a run is complete exactly when all of its symbols are."""
    state = live_state(*SYMBOLS)
    written: set[tuple[int, str]] = set()
    ready: dict[int, set[str]] = {}
    now_ms = T0
    for symbol, n, kind in steps:
        now_ms += 700
        run_time_ms = T0 + n * MINUTE_MS
        open_ms = run_time_ms - MINUTE_MS
        at_ms = max(now_ms, run_time_ms)
        message: Message
        if kind == "ws":
            message = closed(symbol, open_ms, after_ms=at_ms - run_time_ms)
        elif kind == "rest":
            message = page(symbol, open_ms, run_time_ms, [open_ms], purpose=Purpose.LATE, answered_ms=at_ms)
        elif kind == "boundary":
            message = Boundary(FEED.name, run_time_ms)
        else:
            message = Tick(FEED.name)
        decision = take(state, message, at_ms=at_ms)
        written |= {(c.open_time_ms + MINUTE_MS, c.symbol) for c in decision.candles}
        for row in decision.ready:
            assert (row.run_time_ms, row.item) in {(c.open_time_ms + MINUTE_MS, c.symbol) for c in decision.candles}
            assert row.item not in ready.setdefault(row.run_time_ms, set())
            ready[row.run_time_ms].add(row.item)
        for run in decision.runs.values():
            assert run.ready == len(ready.get(run.run_time_ms, ()))
            assert (run.complete_at_ms is not None) == (run.ready == run.expected)
    for run_time_ms, items in ready.items():
        assert items <= {symbol for at, symbol in written if at == run_time_ms}


def test_different_values_for_a_recorded_bar_are_passed_on_to_be_judged() -> None:
    state = live_state("BTCUSDT")
    take(state, closed("BTCUSDT", BAR), at_ms=T0 + 50)
    decision = take(state, closed("BTCUSDT", BAR, close=2.0), at_ms=T0 + 60)
    assert decision.candles == [candle("BTCUSDT", BAR, close=2.0)]
    assert not decision.ready


# --- bars that REST gave too soon after their close


def provisional(symbol: str, *opens: int, purpose: Purpose = Purpose.LATE, at_ms: int) -> Message:
    source = Source.PROVISIONAL
    return page(symbol, BAR, T0, opens, purpose=purpose, answered_ms=at_ms, source=source)


def test_no_run_is_ready_by_a_bar_that_may_still_change() -> None:
    """With a close time-out of 5 s REST is asked at 5 s, which makes nothing ready, and at the age of 15 s again."""
    state = FeedState(FEED, close_timeout_ms=5_000, settle_ms=15_000, page_rows=499)
    take(state, listed("BTCUSDT"), at_ms=T0 - MINUTE_MS)
    state.go_live(T0)
    take(state, Boundary(FEED.name, T0), at_ms=T0)
    asked = []
    for second in range(1, 20):
        decision = take(state, Tick(FEED.name), at_ms=T0 + second * 1000)
        for fetch in decision.fetches:
            assert fetch.purpose is Purpose.LATE
            asked.append(second)
            if second < 15:
                answer = take(state, provisional("BTCUSDT", BAR, at_ms=T0 + second * 1000), at_ms=T0 + second * 1000)
                assert [one.source for one in answer.candles] == [Source.PROVISIONAL]
                assert not answer.ready
                assert not answer.completed
            else:
                answer = take(
                    state,
                    page("BTCUSDT", BAR, T0, [BAR], purpose=Purpose.LATE, answered_ms=T0 + 15_100),
                    at_ms=T0 + 15_100,
                )
                assert answer.completed == [T0]
    assert asked == [5, 15]
    assert state.provisional_bars() == 0


def test_a_provisional_bar_is_asked_for_again_until_it_is_confirmed() -> None:
    """20 s after its close, then ever more rarely; neither a gap nor its end is written, for the bar is in the file."""
    state = live_state("BTCUSDT")
    first = take(state, provisional("BTCUSDT", BAR, purpose=Purpose.REPAIR, at_ms=T0 + 2_000), at_ms=T0 + 2_000)
    assert not first.gaps
    assert state.provisional_bars() == 1
    asked = []
    for second in range(2, 200):
        decision = take(state, Tick(FEED.name), at_ms=T0 + second * 1000)
        for fetch in decision.fetches:
            if fetch.purpose is Purpose.REPAIR:
                asked.append((second, (fetch.start_ms - BAR) // MINUTE_MS))
                take(state, FetchFailed(fetch, "no answer", refused=False), at_ms=T0 + second * 1000)
    assert asked[:2] == [(20, 0), (80, 0)]
    answer = page("BTCUSDT", BAR, T0, [BAR], purpose=Purpose.REPAIR, answered_ms=T0 + 201_000)
    assert [one.source for one in take(state, answer, at_ms=T0 + 201_000).candles] == [Source.REST]
    assert state.provisional_bars() == 0


def test_a_closing_frame_confirms_a_provisional_bar() -> None:
    state = live_state("BTCUSDT")
    take(state, Boundary(FEED.name, T0), at_ms=T0)
    take(state, provisional("BTCUSDT", BAR, at_ms=T0 + 2_000), at_ms=T0 + 2_000)
    assert take(state, closed("BTCUSDT", BAR, after_ms=2_200), at_ms=T0 + 2_200).completed == [T0]
    assert state.provisional_bars() == 0


def test_what_a_killed_recorder_left_unconfirmed_is_asked_for_at_the_next_start() -> None:
    """Also of a symbol that trades no more; but not before it is old enough."""
    state = FeedState(FEED, close_timeout_ms=15_000, settle_ms=15_000, page_rows=499)
    bars = [("BTCUSDT", BAR - 9 * MINUTE_MS), ("GONEUSDT", BAR)]
    state.resume(expected=["BTCUSDT"], latest=dict(bars), unfinished=[], gaps=[], provisional=bars, now_ms=T0 + 3_000)
    asked = {
        (fetch.symbol, second)
        for second in range(3, 30)
        for fetch in take(state, Tick(FEED.name), at_ms=T0 + second * 1000).fetches
    }
    assert asked == {("BTCUSDT", 3), ("GONEUSDT", 20)}


def test_rest_is_asked_for_no_hole_that_closed_too_recently() -> None:
    """A gap whose bar closed 5 s ago is asked for when the bar is old enough, and not put off for that."""
    state = live_state("BTCUSDT")
    state.resume(
        expected=[],
        latest={},
        unfinished=[],
        gaps=[Gap("BTCUSDT", BAR, T0, GapState.OPEN, "late", T0)],
        now_ms=T0 + 5_000,
    )
    asked = [second for second in range(5, 19) if take(state, Tick(FEED.name), at_ms=T0 + second * 1000).fetches]
    assert asked == [15]


# --- symbols that do not trade for a moment, and markets that do not for long


def told_of(*statuses: tuple[str, str], run_time_ms: int = 0) -> ExchangeInfoFetched:
    """The listings as they are looked at while the recorder runs."""
    return ExchangeInfoFetched(FEED.name, run_time_ms, tuple(info(*status) for status in statuses))


@pytest.mark.parametrize(
    "blip",
    [
        [("BTCUSDT", "BREAK"), ("ETHUSDT", "BREAK")],
        [("BTCUSDT", "TRADING"), ("ETHUSDT", "HALT")],
        [("BTCUSDT", "TRADING")],
        [("SOLUSDT", "TRADING_HALT")],
    ],
)
def test_expected_symbols_survive_a_blip(blip: list[tuple[str, str]]) -> None:
    """From two seconds before a boundary to three after it: the run expects all, and so does the next."""
    state = live_state("BTCUSDT", "ETHUSDT")
    take(state, Boundary(FEED.name, T0), at_ms=T0)
    decision = take(state, told_of(*blip, run_time_ms=T0), at_ms=T0 + 300)
    assert state.in_doubt()
    assert decision.listen is None
    assert not [event for event in decision.events if isinstance(event, SymbolsChanged | Notice)]
    after = take(state, closed("BTCUSDT", BAR), closed("ETHUSDT", BAR, after_ms=800), at_ms=T0 + 800)
    assert after.runs[T0].expected == after.runs[T0].ready == 2
    take(state, told_of(("BTCUSDT", "TRADING"), ("ETHUSDT", "TRADING")), at_ms=T0 + 5_000)
    assert not state.in_doubt()
    following = take(state, Boundary(FEED.name, T0 + MINUTE_MS), at_ms=T0 + MINUTE_MS)
    assert following.runs[T0 + MINUTE_MS].expected == 2


def test_a_symbol_that_stays_in_break_is_given_up_before_the_deadline() -> None:
    """It may be delisted: the run waits for it until that is certain, and is complete without it in time."""
    state = live_state("BTCUSDT", "ETHUSDT")
    take(state, Boundary(FEED.name, T0), closed("BTCUSDT", BAR), at_ms=T0 + 50)
    stopped = told_of(("BTCUSDT", "TRADING"), ("ETHUSDT", "BREAK"))
    take(state, stopped, at_ms=T0 + 300)
    assert not take(state, stopped, at_ms=T0 + DOUBT_MS).completed
    decision = take(state, stopped, at_ms=T0 + 300 + DOUBT_MS)
    assert decision.completed == [T0]
    assert decision.listen == {"BTCUSDT"}
    assert [event.delisted for event in decision.events if isinstance(event, SymbolsChanged)] == [("ETHUSDT",)]
    assert 300 + DOUBT_MS < REPAIR_DEADLINE_MS


@pytest.mark.parametrize("status", ["SETTLING", "CLOSE", "DELIVERING"])
def test_a_contract_that_has_ended_is_not_waited_for(status: str) -> None:
    state = live_state("BTCUSDT", "ETHUSDT")
    take(state, Boundary(FEED.name, T0), closed("BTCUSDT", BAR), at_ms=T0 + 50)
    decision = take(state, told_of(("BTCUSDT", "TRADING"), ("ETHUSDT", status)), at_ms=T0 + 300)
    assert decision.completed == [T0]
    assert not state.in_doubt()


def test_a_list_that_lacks_symbols_is_not_believed_while_their_bars_come() -> None:
    """For half an hour the list has one symbol of two, and the streams bring both. Then one stream ends."""
    state = live_state("BTCUSDT", "ETHUSDT")
    for minute in range(30):
        boundary, bar = T0 + minute * MINUTE_MS, BAR + minute * MINUTE_MS
        short = told_of(("BTCUSDT", "TRADING"), run_time_ms=boundary)
        take(state, Boundary(FEED.name, boundary), short, at_ms=boundary + 10)
        decision = take(state, closed("BTCUSDT", bar), closed("ETHUSDT", bar), at_ms=boundary + 60)
        assert decision.runs[boundary].expected == 2
        take(state, told_of(("BTCUSDT", "TRADING")), at_ms=boundary + 31_000)
    end = T0 + 30 * MINUTE_MS
    take(state, Boundary(FEED.name, end), closed("BTCUSDT", end - MINUTE_MS), at_ms=end + 60)
    assert take(state, told_of(("BTCUSDT", "TRADING")), at_ms=end + 31_000).completed == [end]


def test_a_market_that_is_halted_is_told_and_its_runs_say_so() -> None:
    """Its streams stay; nothing is expected, late or missing; and when it trades again, it is told and expected."""
    state = live_state("BTCUSDT", "ETHUSDT")
    halted = told_of(("BTCUSDT", "BREAK"), ("ETHUSDT", "BREAK"))
    trading = told_of(("BTCUSDT", "TRADING"), ("ETHUSDT", "TRADING"))
    take(state, Boundary(FEED.name, T0), closed("BTCUSDT", BAR), closed("ETHUSDT", BAR), at_ms=T0 + 60)
    take(state, halted, at_ms=T0 + 300)
    decision = take(state, halted, at_ms=T0 + 31_000)
    assert state.halted
    assert decision.listen is None
    assert [(event.severity, event.topic) for event in decision.events if isinstance(event, Notice)] == [
        ("error", "halt")
    ]
    following = T0 + MINUTE_MS
    run = take(state, Boundary(FEED.name, following), at_ms=following)
    assert run.runs[following].state == "halted"
    assert not [event for event in run.events if isinstance(event, RunStarted)]
    late = take(state, Tick(FEED.name), at_ms=following + REPAIR_DEADLINE_MS)
    assert not late.gaps
    assert not [event for event in late.events if isinstance(event, RunLate)]
    resumed = take(state, trading, at_ms=following + 50_000)
    assert [(event.severity, event.topic) for event in resumed.events if isinstance(event, Notice)] == [
        ("info", "halt")
    ]
    assert resumed.listen == {"BTCUSDT", "ETHUSDT"}
    assert resumed.backfill == ["BTCUSDT", "ETHUSDT"]
    after = take(state, Boundary(FEED.name, following + MINUTE_MS), at_ms=following + MINUTE_MS)
    assert after.runs[following + MINUTE_MS].expected == 2


def test_a_start_within_a_blip_expects_what_was_recorded_a_moment_ago() -> None:
    """And not what was recorded long ago, for that may have been delisted since."""
    state = FeedState(FEED, close_timeout_ms=15_000, settle_ms=15_000, page_rows=499)
    latest = {"BTCUSDT": BAR, "OLDUSDT": BAR - 5 * MINUTE_MS}
    state.resume(expected=latest, latest=latest, unfinished=[], gaps=[], now_ms=T0 + 1_000)
    start = ExchangeInfoFetched(FEED.name, 0, (info("BTCUSDT", "BREAK"), info("OLDUSDT", "BREAK")), starting=True)
    assert take(state, start, at_ms=T0 + 1_000).listen == {"BTCUSDT"}
    assert state.expected == {"BTCUSDT"}
    assert not state.halted
