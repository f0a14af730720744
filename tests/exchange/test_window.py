"""The rate windows against an exchange that counts when it likes, with a clock of its own."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from bmacdb.exchange.window import MinuteWindow, Penalty, SlidingWindow
from bmacdb.interval import DAY_MS, MINUTE_MS

MARGIN_MS = 200
START_MS = 28_000_000 * MINUTE_MS + 12_345


@dataclass
class Exchange:
    """Counts weight in the minutes of its own clock, which is `offset_ms` ahead of ours."""

    offset_ms: int
    total: Counter[int] = field(default_factory=Counter)
    others: Counter[int] = field(default_factory=Counter)

    def minute(self, ms: int) -> int:
        return (ms + self.offset_ms) // MINUTE_MS

    def count(self, weight: int, ms: int, *, others: bool = False) -> int:
        minute = self.minute(ms)
        self.total[minute] += weight
        if others:
            self.others[minute] += weight
        return self.total[minute]


@dataclass
class Sent:
    weight: int
    at_ms: int
    answered: bool
    told: dict[int, int]  # what answers had told of others' use when it was sent, by minute
    counted_in: int | None = None
    header: int = 0
    others_then: int = 0


class Rehearsal:
    """Runs a MinuteWindow against an Exchange, event by event."""

    def __init__(self, limit: int, offset_ms: int) -> None:
        self.now_ms = START_MS
        self.window = MinuteWindow(limit, reserve=0.03)
        self.exchange = Exchange(offset_ms)
        self.sent: list[Sent] = []
        self.told: Counter[int] = Counter()
        self._events: list[tuple[int, int, str, int, int]] = []
        self._numbers: dict[int, int] = {}

    def run_until(self, ms: int) -> None:
        while self._events and self._events[0][0] <= ms:
            at_ms, _, kind, index, weight = heapq.heappop(self._events)
            self.now_ms = max(self.now_ms, at_ms)
            if kind == "others":
                self.exchange.count(weight, self.now_ms, others=True)
            elif kind == "count":
                request = self.sent[index]
                request.counted_in = self.exchange.minute(self.now_ms)
                request.header = self.exchange.count(request.weight, self.now_ms)
                request.others_then = self.exchange.others[request.counted_in]
            else:
                self._finish(index)
        self.now_ms = max(self.now_ms, ms)

    def _finish(self, index: int) -> None:
        request = self.sent[index]
        used = request.header if request.answered else None
        self.window.finish(self._numbers.pop(index), self.now_ms, used=used, margin_ms=MARGIN_MS)
        minute = request.at_ms // MINUTE_MS
        if request.answered and (self.now_ms + MARGIN_MS) // MINUTE_MS == minute:
            self.told[minute] = max(self.told[minute], request.others_then)

    def _plan(self, at_ms: int, kind: str, index: int, weight: int) -> None:
        heapq.heappush(self._events, (at_ms, len(self._events) + len(self.sent) * 1000, kind, index, weight))

    def others(self, weight: int, after_ms: int) -> None:
        self._plan(self.now_ms + after_ms, "others", 0, weight)

    def ask(self, weight: int, *, urgent: bool, latency: tuple[int, int], answered: bool = True) -> None:
        """Wait for room, then send: it counts after latency[0] ms and is over latency[1] ms later."""
        due_ms = self.now_ms
        while due_ms >= self.now_ms:
            due_ms = self.window.ready_ms(weight, self.now_ms, urgent=urgent, margin_ms=MARGIN_MS)
            if due_ms <= self.now_ms:
                break
            self.run_until(due_ms)
        index = len(self.sent)
        self.sent.append(Sent(weight, self.now_ms, answered, dict(self.told)))
        self._numbers[index] = self.window.start(weight, self.now_ms)
        counted_ms = self.now_ms + latency[0]
        finished_ms = counted_ms + latency[1] if answered else max(counted_ms - latency[1], self.now_ms)
        self._plan(counted_ms, "count", index, 0)
        self._plan(finished_ms, "finish", index, 0)

    def check(self, limit: int) -> None:
        """No request was sent that could have passed the limit, by all that had been told when it was sent."""
        self.run_until(self.now_ms + 600_000)
        ours: Counter[int] = Counter()
        for request in self.sent:
            assert request.counted_in is not None
            ours[request.counted_in] += request.weight
            told = request.told.get(request.counted_in, 0)
            assert ours[request.counted_in] + told <= limit, (request, ours)


weights = st.sampled_from([1, 2, 2, 2, 5, 10, 20])
steps = st.one_of(
    st.tuples(st.just("ask"), weights, st.booleans(), st.integers(0, 3000), st.integers(0, 3000), st.just(True)),
    st.tuples(st.just("ask"), weights, st.booleans(), st.integers(0, 150_000), st.integers(0, 90_000), st.just(True)),
    st.tuples(st.just("ask"), weights, st.booleans(), st.integers(0, 9000), st.integers(0, 2000), st.just(False)),
    st.tuples(st.just("others"), st.integers(1, 60), st.integers(0, 20_000)),
    st.tuples(st.just("pass"), st.integers(0, 30_000)),
    # What is in the air when the minute turns is what matters, so go there often, and try to fill what follows.
    st.tuples(st.just("near the turn"), st.integers(0, 300)),
    st.tuples(
        st.just("burst"), st.integers(10, 60), st.sampled_from([0, 20, 300, 1000]), st.sampled_from([0, 20, 300])
    ),
)


@settings(max_examples=400)
@given(
    limit=st.integers(20, 120),
    offset_ms=st.integers(-MARGIN_MS, MARGIN_MS),
    plan=st.lists(steps, max_size=30),
)
def test_no_minute_of_the_exchange_is_ever_overdrawn(
    limit: int, offset_ms: int, plan: list[tuple[object, ...]]
) -> None:
    """Whatever the latencies, give-ups and clock offset, and whatever others use as far as headers have told."""
    rehearsal = Rehearsal(limit, offset_ms)
    for step in plan:
        match step:
            case ("ask", int(weight), bool(urgent), int(there), int(back), bool(answered)):
                rehearsal.ask(weight, urgent=urgent, latency=(there, back), answered=answered)
            case ("others", int(weight), int(after_ms)):
                rehearsal.others(weight, after_ms)
            case ("burst", int(requests), int(there), int(back)):
                for _ in range(requests):
                    rehearsal.ask(2, urgent=True, latency=(there, back))
            case ("near the turn", int(before_ms)):
                rehearsal.run_until((rehearsal.now_ms // MINUTE_MS + 1) * MINUTE_MS - before_ms)
            case ("pass", int(ms)):
                rehearsal.run_until(rehearsal.now_ms + ms)
    rehearsal.check(limit)


@settings(max_examples=15)
@given(
    offset_ms=st.integers(-MARGIN_MS, MARGIN_MS),
    workers=st.integers(1, 8),
    latencies=st.lists(st.tuples(st.integers(5, 400), st.integers(5, 200)), min_size=1, max_size=7),
)
def test_unbounded_history_uses_95_percent_of_each_minute(
    offset_ms: int, workers: int, latencies: list[tuple[int, int]]
) -> None:
    """History alone, without a single urgent request, fills every whole minute that its latency leaves time for."""
    limit, weight = 1200, 2
    rehearsal = Rehearsal(limit, offset_ms)
    busy: deque[int] = deque()
    number = 0
    while rehearsal.now_ms < START_MS + 3 * MINUTE_MS:
        if len(busy) == workers:
            rehearsal.run_until(busy.popleft())
        latency = latencies[number % len(latencies)]
        rehearsal.ask(weight, urgent=False, latency=latency)
        busy.append(rehearsal.now_ms + sum(latency))
        number += 1
    rehearsal.check(limit)
    slowest = max(sum(latency) for latency in latencies)
    possible = min(limit, weight * workers * MINUTE_MS // slowest * 9 // 10)
    first = rehearsal.exchange.minute(START_MS) + 1
    for minute in range(first, first + 2):
        assert rehearsal.exchange.total[minute] >= 0.95 * possible


def test_history_leaves_a_reserve_to_what_is_urgent() -> None:
    """When history has taken all it may, an urgent request still goes at once."""
    window = MinuteWindow(100, reserve=0.03)
    now_ms = START_MS
    while window.ready_ms(1, now_ms, urgent=False, margin_ms=MARGIN_MS) <= now_ms:
        window.start(1, now_ms)
    assert window.used(now_ms) == 97
    assert window.ready_ms(3, now_ms, urgent=True, margin_ms=MARGIN_MS) <= now_ms
    assert window.ready_ms(4, now_ms, urgent=True, margin_ms=MARGIN_MS) > now_ms


def test_what_others_use_shrinks_the_room() -> None:
    """A header far above our own use is believed, and forgotten at the turn of the minute."""
    window = MinuteWindow(100, reserve=0.0)
    number = window.start(2, START_MS)
    window.finish(number, START_MS + 50, used=90, margin_ms=MARGIN_MS)
    assert window.used(START_MS + 50) == 90
    assert window.ready_ms(11, START_MS + 50, urgent=True, margin_ms=MARGIN_MS) == 28_000_001 * MINUTE_MS + MARGIN_MS
    assert window.used(START_MS + MINUTE_MS) == 0


def test_concurrent_answers_do_not_make_us_believe_in_others() -> None:
    """Our own requests that were counted between, but answered later, are not taken for others' once all is told."""
    window = MinuteWindow(1000, reserve=0.0)
    numbers = [window.start(2, START_MS) for _ in range(8)]
    for position, number in enumerate(numbers):
        window.finish(number, START_MS + 100, used=2 * (position + 1), margin_ms=MARGIN_MS)
    last = window.start(2, START_MS + 200)
    window.finish(last, START_MS + 300, used=18, margin_ms=MARGIN_MS)
    assert window.used(START_MS + 300) == 18


def test_an_answer_without_a_header_hides_nobody() -> None:
    """It says nothing of what others use, and nothing against what an earlier one has said."""
    window = MinuteWindow(100, reserve=0.0)
    window.finish(window.start(2, START_MS), START_MS + 50, used=52, margin_ms=MARGIN_MS)
    window.finish(window.start(10, START_MS + 60), START_MS + 90, used=0, margin_ms=MARGIN_MS)
    assert window.used(START_MS + 100) == 62


def test_a_request_in_flight_at_the_turn_counts_in_both_minutes() -> None:
    """Nobody knows in which minute it arrived."""
    window = MinuteWindow(100, reserve=0.0)
    turn_ms = 28_000_001 * MINUTE_MS
    number = window.start(10, turn_ms - 500)
    assert window.used(turn_ms - 500) == 10
    assert window.used(turn_ms + 10) == 10
    window.finish(number, turn_ms + 20, used=10, margin_ms=MARGIN_MS)
    assert window.used(turn_ms + 30) == 10


def test_a_request_answered_just_before_the_turn_counts_in_both_minutes() -> None:
    """The exchange's clock may have turned already when ours has not."""
    window = MinuteWindow(100, reserve=0.0)
    turn_ms = 28_000_001 * MINUTE_MS
    number = window.start(10, turn_ms - 400)
    window.finish(number, turn_ms - 100, used=10, margin_ms=MARGIN_MS)
    assert window.used(turn_ms) == 10


def test_nothing_is_sent_right_after_the_turn() -> None:
    """The first request of a minute waits for the margin."""
    window = MinuteWindow(100, reserve=0.0)
    turn_ms = 28_000_001 * MINUTE_MS
    assert window.ready_ms(1, turn_ms + 5, urgent=True, margin_ms=MARGIN_MS) == turn_ms + MARGIN_MS


def test_a_clock_that_was_far_ahead_does_not_close_the_window_for_good() -> None:
    """This machine's own clock may be wrong by months until the exchange's is known; what was used still counts."""
    window = MinuteWindow(100, reserve=0.0)
    window.finish(window.start(30, START_MS), START_MS + 9, used=30, margin_ms=MARGIN_MS)
    earlier_ms = START_MS - 60 * DAY_MS
    assert window.ready_ms(70, earlier_ms, urgent=True, margin_ms=MARGIN_MS) <= earlier_ms
    assert window.used(earlier_ms) == 30
    penalty = Penalty()
    penalty.strike(START_MS, sent_ms=START_MS, banned=True, told_ms=None)
    assert penalty.ready_ms(earlier_ms) == 0


def test_a_clock_set_back_a_little_opens_no_minute_anew() -> None:
    """By a correction just after the turn: what the minute before holds is not known any more, so it stays closed."""
    window = MinuteWindow(100, reserve=0.0)
    turn_ms = 28_000_001 * MINUTE_MS
    window.start(90, turn_ms - 5000)
    assert window.used(turn_ms + 300) == 90
    assert window.ready_ms(1, turn_ms - 100, urgent=True, margin_ms=MARGIN_MS) == turn_ms + MARGIN_MS


def test_a_request_heavier_than_the_limit_goes_alone() -> None:
    """It would wait for ever otherwise."""
    window = MinuteWindow(10, reserve=0.03)
    assert window.ready_ms(20, START_MS, urgent=False, margin_ms=MARGIN_MS) <= START_MS
    window.start(1, START_MS)
    assert window.ready_ms(20, START_MS, urgent=False, margin_ms=MARGIN_MS) > START_MS


@given(plan=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 3000), st.integers(0, 3000)), max_size=60))
def test_no_sliding_window_is_ever_overdrawn(plan: list[tuple[int, int, int]]) -> None:
    """Whenever within its flight a request counts, no span of the window's length holds more than the limit."""
    limit, length_ms = 5, 10_000
    window, now_ms = SlidingWindow(limit, length_ms), START_MS
    finishing: list[int] = []
    counted: list[int] = []
    for pause_ms, there_ms, back_ms in plan:
        target_ms = now_ms + pause_ms
        while True:
            due_ms = max(target_ms, window.ready_ms(now_ms, margin_ms=MARGIN_MS))
            while finishing and finishing[0] <= due_ms:
                now_ms = heapq.heappop(finishing)
                window.finish(now_ms)
                due_ms = max(target_ms, window.ready_ms(now_ms, margin_ms=MARGIN_MS))
            now_ms = max(now_ms, due_ms)
            if window.ready_ms(now_ms, margin_ms=MARGIN_MS) <= now_ms:
                break
        window.start()
        counted.append(now_ms + there_ms)
        heapq.heappush(finishing, now_ms + there_ms + back_ms)
    counted.sort()
    for first, beyond in zip(counted, counted[limit:], strict=False):
        assert beyond - first >= length_ms


def test_a_refusal_without_a_word_costs_more_each_time() -> None:
    """429 waits for the next minute first; answers to requests that were on their way together count once."""
    penalty = Penalty()
    now_ms = START_MS
    next_ms = (now_ms // MINUTE_MS + 1) * MINUTE_MS
    for _ in range(8):
        assert penalty.strike(now_ms, sent_ms=now_ms - 50, banned=False, told_ms=None) == next_ms
    assert penalty.strike(next_ms, sent_ms=next_ms, banned=False, told_ms=None) == next_ms + 2 * MINUTE_MS
    penalty.forgive(next_ms + 2 * MINUTE_MS)
    now_ms = next_ms + 5 * MINUTE_MS
    assert penalty.strike(now_ms, sent_ms=now_ms, banned=False, told_ms=None) == now_ms + MINUTE_MS


def test_a_ban_lasts_two_minutes_and_longer_each_time() -> None:
    """418 without a word; never longer than the three days that the exchange gives at most."""
    penalty = Penalty()
    now_ms = START_MS
    assert penalty.strike(now_ms, sent_ms=now_ms, banned=True, told_ms=None) == now_ms + 2 * MINUTE_MS
    for _ in range(20):
        now_ms = penalty.until_ms
        penalty.strike(now_ms, sent_ms=now_ms, banned=True, told_ms=None)
    assert penalty.until_ms == now_ms + 3 * DAY_MS


def test_what_the_exchange_says_is_kept_to() -> None:
    """An instant told by the exchange replaces every guess, and a shorter one never ends a ban early."""
    penalty = Penalty()
    assert penalty.strike(START_MS, sent_ms=START_MS, banned=True, told_ms=START_MS + 7000) == START_MS + 7000
    penalty.extend(START_MS + 1000)
    assert penalty.until_ms == START_MS + 7000
