"""The watchdog: notices that the recorder itself stands still, mends what it can, and else ends it.

A live feed commits at least once a period, whatever the exchange does: the row of the run itself. So when nothing was
committed for two periods, something in here hangs. First the connections of the feed are renewed; when that changes
nothing for two periods more, the recording ends with an error, and a supervisor (systemd, Docker) starts it again: what
was committed is safe. A full disk is no stall, for recording goes on by itself as soon as there is room.

The last resort is a thread: when the event loop does not turn any more, or the end itself hangs, it ends the process.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from bmacdb.clock import Clock, ServerClock
from bmacdb.errors import Stalled
from bmacdb.recorder.dispatch import Dispatcher
from bmacdb.recorder.events import Notice, Report, Severity
from bmacdb.recorder.feed import FeedRecorder
from bmacdb.recorder.supervisor import Supervisor

__all__ = ["LastResort", "StallJudge", "Verdict", "Watchdog", "Watched"]

_LEAST_PATIENCE_S = 60.0  # of this machine, however short the period: a busy machine is no stall
_STANDING_S = 300.0  # seconds in which the consumer must take a message (live feeds send one each second)
_LOOK_EVERY_S = 5.0
_ASLEEP_S = 60.0  # between two looks: the machine slept, and (on Windows) its monotonic clock did not


@dataclass(frozen=True, slots=True)
class Watched:
    """A feed as the watchdog sees it: the seconds (of this machine) of a period, whether it is live, and how to renew
    its connections."""

    period_s: float
    live: Callable[[], bool]
    renew: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class LastResort:
    """When the thread ends the process: after so many of its looks without a turn of the event loop, or since the
    recording began to end; `tell_s` seconds are for log and alerts. (Looks are counted and not seconds: a machine that
    slept is none that hangs.)"""

    looks_without_turn: int = 60
    looks_for_ending: int = 24
    tell_s: float = 3.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done about `feed` (None: the whole recorder): renew its connections, or `end` the recording."""

    feed: str | None
    text: str
    end: bool


class StallJudge:
    """Judges by times of this machine in monotonic seconds. Pure."""

    def __init__(self, periods_s: Mapping[str, float]) -> None:
        """`periods_s` has the period of each feed, in seconds of this machine."""
        self._patience = {feed: max(2 * period_s, _LEAST_PATIENCE_S) for feed, period_s in periods_s.items()}
        self._committed: dict[str, float] = {}  # or when its connections were renewed
        self._renewed: set[str] = set()
        self._live: frozenset[str] = frozenset()
        self._turns = -1
        self._turned: float | None = None

    def committed(self, feed: str, now: float) -> None:
        """Rows of `feed` were committed."""
        self._committed[feed] = now
        self._renewed.discard(feed)

    def restart(self, now: float) -> None:
        """Judge by nothing that was before `now`."""
        self._committed = dict.fromkeys(self._committed, now)
        self._renewed.clear()
        self._turned = now

    def look(self, now: float, *, live: Collection[str], turns: int, paused: bool) -> list[Verdict]:
        """What is wrong at `now`: `live` are the feeds that make runs, `turns` counts how often the consumer took
        messages, and `paused` tells that it waits for room on the disk."""
        for feed in self._live.symmetric_difference(live):  # history may have had nothing to commit for long
            self._committed[feed] = now
        self._live = frozenset(live)
        if paused or not live:
            self.restart(now)
            return []
        if self._turned is None or turns != self._turns:
            self._turns, self._turned = turns, now
        elif now - self._turned > _STANDING_S:
            return [Verdict(None, f"nothing was taken from the queue for {now - self._turned:.0f} s", end=True)]
        verdicts = []
        for feed in live:
            since = self._committed[feed]
            if now - since <= self._patience[feed]:
                continue
            text = f"nothing was committed for {now - since:.0f} s"
            if feed in self._renewed:
                verdicts.append(Verdict(feed, f"{text} after its connections were renewed", end=True))
            else:
                self._renewed.add(feed)
                self._committed[feed] = now
                verdicts.append(Verdict(feed, f"{text}, two periods or more: renewing its connections", end=False))
        return verdicts


class Watchdog:
    """Watches over `feeds`; `turns` and `paused` tell of the consumer. `leave` ends the process at once."""

    def __init__(
        self,
        feeds: Mapping[str, Watched],
        *,
        clock: Clock,
        turns: Callable[[], int],
        paused: Callable[[], bool],
        report: Report,
        supervisor: Supervisor | None = None,
        leave: Callable[[int], None] = os._exit,
        look_every_s: float = _LOOK_EVERY_S,
        asleep_s: float = _ASLEEP_S,
        last_resort: LastResort | None = None,
    ) -> None:
        """A look that comes more than `asleep_s` seconds after the one before is a machine that slept, and no stall."""
        self._feeds, self._clock, self._turns, self._paused = feeds, clock, turns, paused
        self._report, self._leave, self._look_every_s = report, leave, look_every_s
        self._supervisor = supervisor or Supervisor()
        self._limits = last_resort or LastResort()
        self._judge = StallJudge({name: feed.period_s for name, feed in feeds.items()})
        self._looked, self._asleep_s = clock.monotonic(), asleep_s
        self._beats = 0
        self._ending = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._last_resort, name="watchdog", daemon=True)

    @classmethod
    def over(
        cls, feeds: Mapping[str, FeedRecorder], dispatcher: Dispatcher, *, clock: ServerClock, report: Report
    ) -> Watchdog:
        """The watchdog of a recorder: of its feeds, and of the one that consumes."""

        def watched(feed: FeedRecorder) -> Watched:
            period_s = feed.feed.interval.length_ms / 1000 / clock.rate
            return Watched(period_s, lambda: feed.state.live_from_ms is not None, feed.listeners.renew)

        return cls(
            {name: watched(feed) for name, feed in feeds.items()},
            clock=clock,
            turns=lambda: dispatcher.turns,
            paused=lambda: dispatcher.paused,
            report=report,
        )

    def committed(self, feed: str) -> None:
        """Rows of `feed` were committed."""
        if feed in self._feeds:
            self._judge.committed(feed, self._clock.monotonic())

    async def run(self) -> None:
        """Watch until cancelled. Raises Stalled when nothing else helps."""
        self._supervisor.ready()
        self._thread.start()
        every_s = min(self._look_every_s, self._supervisor.every_s or self._look_every_s)
        try:
            while True:
                self._look()
                await asyncio.sleep(every_s)
        finally:
            self._ending = True
            self._supervisor.stopping()

    def close(self) -> None:
        """The recording has ended; the thread is not needed any more."""
        self._closed.set()

    def _look(self) -> None:
        self._beats += 1
        now = self._clock.monotonic()
        if now - self._looked > self._asleep_s:
            self._judge.restart(now)
        self._looked = now
        live = [name for name, feed in self._feeds.items() if feed.live()]
        paused = self._paused()
        for verdict in self._judge.look(now, live=live, turns=self._turns(), paused=paused):
            if verdict.end:
                of = f"{verdict.feed}: " if verdict.feed else ""
                self._say(Severity.ERROR, verdict.text, verdict.feed)  # the end may hang too, and tell nothing more
                raise Stalled(f"{of}{verdict.text}: the recorder stands still and ends, to be started again.")
            if verdict.feed is not None:
                self._say(Severity.WARNING, verdict.text, verdict.feed)
                self._feeds[verdict.feed].renew(verdict.text)
        state = "waits for room on the disk" if paused else f"{len(live)} of {len(self._feeds)} feeds live"
        self._supervisor.alive(state)

    def _say(self, severity: Severity, text: str, feed: str | None = None) -> None:
        self._report(Notice(self._clock.now_ms(), severity, "watchdog", text, feed))

    # The thread's part

    def _last_resort(self) -> None:
        limits = self._limits
        beats, missed = 0, 0
        while not self._closed.wait(self._look_every_s):
            missed = missed + 1 if self._beats == beats or self._ending else 0
            beats = self._beats
            if missed >= (limits.looks_for_ending if self._ending else limits.looks_without_turn):
                what = "the end hangs" if self._ending else "the event loop stands still"
                self._say(Severity.ERROR, f"{what}: the process is ended; what was committed is safe.")
                if not self._closed.wait(limits.tell_s):
                    self._leave(1)
                return
