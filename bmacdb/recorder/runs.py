"""The runs of one feed that may still change: what each waits for, when it is complete, what is late. Pure.

A run is one period of the feed. It opens at its boundary (or with the first candle, should that come before the
alarm), waits for every expected symbol, asks REST for the late ones from the close time-out on, and past the
deadline names what is still missing, as `missing` of the run and as gaps, which repair goes on with.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Set
from dataclasses import replace

from bmacdb.model import EXGINFO_ITEM, FUNDING_ITEM, Candle, Feed, Gap, Ready, Run, Source
from bmacdb.recorder.decision import Decision, OpenRun
from bmacdb.recorder.events import RunComplete, RunLate, RunProgress, RunStarted
from bmacdb.recorder.gaps import GapBook

__all__ = ["REPAIR_DEADLINE_MS", "RunBook"]

REPAIR_DEADLINE_MS = 40_000
"""How long after its boundary a run is waited for before what is missing is named."""

_REPAIR_EVERY_MS = 10_000
_LATE_RUNS = 2_000  # late runs remembered, so that a bar that comes after all completes its run


class RunBook:
    """Holds the open runs of a feed, late `deadline_ms` after their boundary.

    Every method adds to `into` what changed; what is late becomes a gap in `gaps`.
    """

    def __init__(self, feed: Feed, gaps: GapBook, *, close_timeout_ms: int, settle_ms: int) -> None:
        self.feed = feed
        self.live_from_ms: int | None = None
        self._gaps = gaps
        self._runs: dict[int, OpenRun] = {}
        self._newest_ms = 0
        self._close_timeout_ms, self._settle_ms = close_timeout_ms, settle_ms
        self.deadline_ms = max(REPAIR_DEADLINE_MS, max(close_timeout_ms, settle_ms) + 2 * _REPAIR_EVERY_MS)

    def __repr__(self) -> str:
        return f"<RunBook {self.feed.name} open={len(self._runs)}>"

    def __contains__(self, run_time_ms: object) -> bool:
        return run_time_ms in self._runs

    def first_ms(self) -> int | None:
        """The first run that a bar may matter to; None while there is none."""
        live = () if self.live_from_ms is None else (self.live_from_ms,)
        return min((*self._runs, *live), default=None)

    def awaits(self, run_time_ms: int, symbol: str) -> bool:
        """Whether the run is open and waits for `symbol`."""
        run = self._runs.get(run_time_ms)
        return run is not None and symbol in run.waiting

    # Where it starts from

    def resume(self, unfinished: Iterable[tuple[Run, frozenset[str]]], expected: Set[str]) -> None:
        """Take up the runs that never got complete, with the items that were ready."""
        for run, ready in unfinished:
            # Killed before its deadline, a run has not named what it misses.
            waiting = (set(run.missing) or expected) - ready
            self._runs[run.run_time_ms] = OpenRun(
                run.run_time_ms,
                max(run.expected, len(waiting)),
                set(waiting),
                run.repaired,
                run.last_item,
                missing=run.missing or tuple(sorted(waiting)),
                past_deadline=True,
            )

    def go_live(self, run_time_ms: int) -> None:
        """Every run from `run_time_ms` on is watched over."""
        if self.live_from_ms is None:
            self.live_from_ms = run_time_ms

    # What happens

    def boundary(self, run_time_ms: int, expected: Collection[str], now_ms: int, into: Decision) -> None:
        """The boundary of a run has come: it opens, unless a candle has opened it."""
        if run_time_ms not in self._runs and run_time_ms > self._newest_ms:
            self._open(run_time_ms, expected, now_ms, into)

    def ready(self, run_time_ms: int, candle: Candle, expected: Collection[str], at_ms: int, into: Decision) -> None:
        """The bar of a run is there since `at_ms`."""
        run = self._runs.get(run_time_ms)
        if run is None:
            if self.live_from_ms is None or run_time_ms < self.live_from_ms or run_time_ms <= self._newest_ms:
                return
            run = self._open(run_time_ms, expected, at_ms, into)
        if candle.symbol not in run.waiting:
            return
        at_ms = max(at_ms, run.last_at_ms)  # a run is complete with its last item, and not before one of them
        if not run.past_deadline and at_ms - run_time_ms >= self.deadline_ms:
            self._deadline(run, at_ms, into)  # the tick that would have said so comes late on a busy machine
        run.waiting.remove(candle.symbol)
        run.repaired += candle.source is not Source.WS
        run.last_item, run.last_at_ms = candle.symbol, at_ms
        into.ready.append(Ready(run_time_ms, candle.symbol, at_ms, candle.source))
        self._maybe_complete(run, at_ms, into)

    def late(self, now_ms: int, into: Decision) -> list[tuple[str, int]]:
        """(symbol, open time) of bars to be asked for now; what is past its deadline is named."""
        wanted: list[tuple[str, int]] = []
        for run in sorted(self._runs.values(), key=lambda run: run.run_time_ms):
            if run.complete_at_ms is not None or run.past_deadline:
                continue
            elapsed_ms = now_ms - run.run_time_ms
            if elapsed_ms >= self.deadline_ms:
                self._deadline(run, now_ms, into)
                continue
            if run.expected:
                into.events.append(RunProgress(now_ms, self.feed.name, run.run_time_ms, run.ready, run.expected))
            if elapsed_ms >= self._close_timeout_ms and now_ms >= run.next_fetch_ms:
                run.next_fetch_ms = now_ms + _REPAIR_EVERY_MS
                if elapsed_ms < self._settle_ms:  # this answer makes no symbol ready; the one at that age will
                    run.next_fetch_ms = min(run.next_fetch_ms, run.run_time_ms + self._settle_ms)
                open_ms = self.feed.interval.shift(run.run_time_ms, -1)
                wanted += ((symbol, open_ms) for symbol in run.waiting)
        return wanted

    def absent(self, gap: Gap) -> None:
        """Bars that the exchange never made keep their runs incomplete for good: stop remembering those that wait for
        nothing else."""
        for open_ms in self.feed.interval.opens(gap.gap_start_ms, gap.gap_end_ms):
            run = self._runs.get(self.feed.interval.next(open_ms))
            if run is not None and run.past_deadline:
                run.absent.add(gap.symbol)
                if run.waiting <= run.absent:
                    del self._runs[run.run_time_ms]

    def delisted(self, symbols: Collection[str], now_ms: int, into: Decision) -> None:
        """`symbols` trade no more: runs wait for them no longer, unless they are late already."""
        for run in list(self._runs.values()):
            if not run.past_deadline and (gone := run.waiting.intersection(symbols)):
                run.expected -= len(gone)
                run.waiting -= gone
                into.changed_runs[run.run_time_ms] = run
                self._maybe_complete(run, now_ms, into)

    def delayed(self, into: Decision, now_ms: int) -> None:
        """What is in `into` could be written only now, for there was no room: nobody could read it before."""
        into.ready = [replace(row, ready_at_ms=now_ms) for row in into.ready]
        for row in into.ready:
            run = self._runs.get(row.run_time_ms)
            if run is None or row.item in (EXGINFO_ITEM, FUNDING_ITEM):
                continue
            if run.complete_at_ms is not None:
                run.complete_at_ms = now_ms
            if now_ms - run.run_time_ms >= self.deadline_ms:
                run.missing = tuple(sorted({*run.missing, row.item}))
            into.changed_runs[run.run_time_ms] = run

    # The course of a run

    def _open(self, run_time_ms: int, expected: Collection[str], at_ms: int, into: Decision) -> OpenRun:
        run = OpenRun(run_time_ms, len(expected), set(expected))
        self._runs[run_time_ms] = run
        self._newest_ms = max(self._newest_ms, run_time_ms)
        into.changed_runs[run_time_ms] = run
        if run.expected:
            into.events.append(RunStarted(at_ms, self.feed.name, run_time_ms, run.expected))
        self._forget(at_ms)
        return run

    def _forget(self, now_ms: int) -> None:
        """Drop the runs that nothing can change any more, and the oldest when too many are late."""
        done = [
            run.run_time_ms
            for run in self._runs.values()
            if (run.complete_at_ms is not None or not run.expected) and now_ms - run.run_time_ms > self.deadline_ms
        ]
        for run_time_ms in done + sorted(self._runs)[:-_LATE_RUNS]:
            self._runs.pop(run_time_ms, None)

    def _deadline(self, run: OpenRun, now_ms: int, into: Decision) -> None:
        run.past_deadline = True
        run.waiting = set(run.waiting)  # a set that has shrunk keeps its room, and late runs are remembered for long
        run.missing = tuple(sorted({*run.missing, *run.waiting}))
        into.changed_runs[run.run_time_ms] = run
        if not run.missing:
            return
        into.events.append(RunLate(now_ms, self.feed.name, run.run_time_ms, run.expected, run.missing))
        open_ms = self.feed.interval.shift(run.run_time_ms, -1)
        for symbol in sorted(run.waiting):
            into.note(self._gaps.add(symbol, open_ms, run.run_time_ms, "late past the deadline", now_ms))

    def _maybe_complete(self, run: OpenRun, at_ms: int, into: Decision) -> None:
        if run.complete_at_ms is not None or run.waiting or not run.expected:
            if run.past_deadline:
                into.changed_runs[run.run_time_ms] = run
            return
        run.complete_at_ms = at_ms
        into.changed_runs[run.run_time_ms] = run
        into.completed.append(run.run_time_ms)
        into.events.append(
            RunComplete(
                at_ms,
                self.feed.name,
                run.run_time_ms,
                run.expected,
                run.repaired,
                run.last_item,
                run.last_at_ms,
                at_ms - run.run_time_ms,
            )
        )
