"""The watchdog: what it takes for a stall, what it does about one, and what a supervisor hears."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bmacdb.clock import ServerClock
from bmacdb.errors import Stalled
from bmacdb.recorder.disk import LOW_BYTES, DiskWatch
from bmacdb.recorder.events import Event, Notice, Severity
from bmacdb.recorder.supervisor import Supervisor
from bmacdb.recorder.watchdog import LastResort, StallJudge, Watchdog, Watched

FEED = "usdt_perp_5m"
PERIOD = 300.0

unix_alone = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="systemd and its sockets are Linux's")


def judge() -> StallJudge:
    """One that has seen a feed live, and a commit, at second 0."""
    judge = StallJudge({FEED: PERIOD})
    assert look(judge, 0.0) == []
    judge.committed(FEED, 0.0)
    return judge


def look(
    judge: StallJudge, now: float, *, turns: int | None = None, paused: bool = False
) -> list[tuple[str | None, bool]]:
    """(feed, whether it ends the recording) of each verdict; the consumer takes messages unless `turns` is given."""
    turns = int(now) if turns is None else turns
    return [(one.feed, one.end) for one in judge.look(now, live=[FEED], turns=turns, paused=paused)]


def test_two_periods_without_a_commit_renew_and_two_more_end() -> None:
    """Each step once, and not a moment too early."""
    judged = judge()
    assert look(judged, 2 * PERIOD) == []
    assert look(judged, 2 * PERIOD + 1) == [(FEED, False)]
    assert look(judged, 4 * PERIOD) == []
    assert look(judged, 4 * PERIOD + 2) == [(FEED, True)]


def test_a_commit_after_the_renewal_starts_all_over() -> None:
    """What helped once is tried first again."""
    judged = judge()
    assert look(judged, 2 * PERIOD + 1) == [(FEED, False)]
    judged.committed(FEED, 3 * PERIOD)
    assert look(judged, 5 * PERIOD) == []
    assert look(judged, 5 * PERIOD + 1) == [(FEED, False)]


def test_short_periods_have_a_minute_of_patience() -> None:
    """A machine that is busy for ten seconds is no recorder that stands still."""
    judged = StallJudge({FEED: 1.0})
    assert look(judged, 0.0) == []
    assert look(judged, 59.0) == []
    assert look(judged, 61.0) == [(FEED, False)]


def test_a_feed_that_is_not_live_is_not_watched() -> None:
    """History takes its time; the clock of a feed runs from the moment it goes live."""
    judged = StallJudge({FEED: PERIOD})
    judged.committed(FEED, 0.0)
    assert judged.look(10_000.0, live=[], turns=0, paused=False) == []
    assert look(judged, 10_001.0) == []
    assert look(judged, 10_002.0 + 2 * PERIOD) == [(FEED, False)]


def test_a_full_disk_is_no_stall() -> None:
    """It goes on by itself when there is room, for however long that takes; then the patience is new."""
    judged = judge()
    for hour in range(1, 10):
        assert look(judged, hour * 3600.0, turns=1, paused=True) == []
    assert look(judged, 9 * 3600.0 + PERIOD) == []


def test_a_queue_of_which_nothing_is_taken_ends_the_recording() -> None:
    """Live feeds send a message each second: five minutes without one taken are a consumer that hangs."""
    judged = StallJudge({FEED: 86_400.0})
    assert look(judged, 1.0, turns=7) == []
    assert look(judged, 300.0, turns=7) == []
    assert look(judged, 302.0, turns=7) == [(None, True)]
    assert look(judged, 303.0, turns=8) == []


NEVER = LastResort(10**9, 10**9)


class Machine:
    """A machine whose seconds pass when told, with one feed in the hands of a watchdog."""

    def __init__(
        self, supervisor: Supervisor | None = None, last_resort: LastResort = NEVER, asleep_s: float = float("inf")
    ) -> None:
        self.now, self.turns = 1000.0, 0
        self.renewed: list[str] = []
        self.events: list[Event] = []
        self.left = threading.Event()
        self.watchdog = Watchdog(
            {FEED: Watched(PERIOD, lambda: True, self.renewed.append)},
            clock=ServerClock(monotonic=lambda: self.now),
            turns=self._turn,
            paused=lambda: False,
            report=self.events.append,
            supervisor=supervisor or Supervisor({}),
            leave=lambda _: self.left.set(),
            look_every_s=0.001,
            last_resort=last_resort,
            asleep_s=asleep_s,
        )

    def _turn(self) -> int:
        self.turns += 1
        return self.turns

    def told(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Notice) and event.topic == "watchdog"]


async def until(condition: object) -> None:
    """Wait for a condition; the test's own time limit ends a wait in vain."""
    while not condition():  # type: ignore[operator]
        await asyncio.sleep(0.001)


async def test_it_renews_says_so_and_then_ends_the_recording() -> None:
    """The whole of it: notice, renewal, and an error that a supervisor sees."""
    machine = Machine()
    watching = asyncio.create_task(machine.watchdog.run())
    try:
        await until(lambda: machine.turns > 0)
        machine.now += 2 * PERIOD + 1
        await until(lambda: machine.renewed)
        assert "nothing was committed for 601 s" in machine.told()[0]
        machine.now += 2 * PERIOD + 1
        with pytest.raises(Stalled, match=f"{FEED}: nothing was committed"):
            await watching
    finally:
        machine.watchdog.close()
    assert len(machine.renewed) == 1


async def test_commits_keep_it_quiet() -> None:
    """Days of them."""
    machine = Machine()
    watching = asyncio.create_task(machine.watchdog.run())
    for _ in range(50):
        machine.now += 2 * PERIOD - 1
        machine.watchdog.committed(FEED)
        seen = machine.turns
        await until(lambda seen=seen: machine.turns > seen)
    machine.watchdog.committed("a feed of resampled bars")
    assert not watching.done()
    watching.cancel()
    await asyncio.wait({watching})
    machine.watchdog.close()
    assert machine.told() == []


async def test_a_machine_that_slept_does_not_stand_still() -> None:
    """Ten hours pass between two looks, as on a notebook: no verdict, and new patience for everyone."""
    machine = Machine(asleep_s=60.0)
    watching = asyncio.create_task(machine.watchdog.run())
    await until(lambda: machine.turns > 0)
    for _ in range(3):
        machine.now += 36_000.0
        seen = machine.turns
        await until(lambda seen=seen: machine.turns > seen + 1)
    assert not watching.done()
    watching.cancel()
    await asyncio.wait({watching})
    machine.watchdog.close()
    assert machine.told() == []


async def test_an_event_loop_that_does_not_turn_ends_the_process() -> None:
    """The thread counts its looks, and says what it does before it does it."""
    machine = Machine(last_resort=LastResort(50, 10**9, tell_s=0.0))
    watching = asyncio.create_task(machine.watchdog.run())
    await until(lambda: machine.turns > 0)
    assert machine.left.wait(60)  # blocks the loop, as a bug would
    assert "the event loop stands still" in machine.told()[0]
    watching.cancel()
    await asyncio.wait({watching})
    machine.watchdog.close()


async def test_an_end_that_hangs_ends_the_process() -> None:
    """A commit that never returns would keep the recorder from ending: `close` is not reached."""
    machine = Machine(last_resort=LastResort(10**9, 50, tell_s=0.0))
    watching = asyncio.create_task(machine.watchdog.run())
    await until(lambda: machine.turns > 0)
    watching.cancel()
    await asyncio.wait({watching})
    await until(machine.left.is_set)
    assert "the end hangs" in machine.told()[0]


# The supervisor


@contextmanager
def notified(directory: Path) -> Iterator[tuple[dict[str, str], socket.socket]]:
    """An environment with a NOTIFY_SOCKET, and the socket that listens there."""
    path = str(directory / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(60)
        yield {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "20000000"}, listener


@unix_alone
async def test_systemd_hears_when_it_is_up_that_it_lives_and_that_it_stops(tmp_path: Path) -> None:
    """READY once, WATCHDOG with a status each time it looks, STOPPING at the end."""
    with notified(tmp_path) as (environ, listener):
        supervisor = Supervisor(environ)
        assert supervisor.every_s == 10.0
        machine = Machine(supervisor)
        watching = asyncio.create_task(machine.watchdog.run())
        await until(lambda: machine.turns > 2)
        watching.cancel()
        await asyncio.wait({watching})
        machine.watchdog.close()
        assert listener.recv(1000) == b"READY=1"
        said = [listener.recv(1000)]
        while said[-1] != b"STOPPING=1":
            said.append(listener.recv(1000))
    assert set(said[:-1]) == {b"WATCHDOG=1\nSTATUS=1 of 1 feeds live"}


@unix_alone
def test_a_supervisor_that_is_gone_or_does_not_read_is_left_alone(tmp_path: Path) -> None:
    """Nothing is raised, and nothing waits."""
    Supervisor({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready()
    with notified(tmp_path) as (environ, _):
        for _ in range(2000):
            Supervisor(environ).alive("on and on")


def test_without_a_supervisor_nothing_is_sent() -> None:
    """Neither in a terminal nor in Docker nor for the children of one that is watched."""
    Supervisor({}).ready()
    assert Supervisor({}).every_s is None
    assert Supervisor({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "1"}).every_s is None
    assert Supervisor({"WATCHDOG_USEC": "nonsense"}).every_s is None


# Room on the disk


async def test_little_room_is_told_once_and_its_return_too() -> None:
    """A file that comes and goes at the limit is not told each time."""
    events: list[Event] = []
    watch = DiskWatch(Path("bmac.duckdb"), clock=ServerClock(), report=events.append)
    for free in (5 * LOW_BYTES, LOW_BYTES - 1, LOW_BYTES // 2, LOW_BYTES + 1, LOW_BYTES - 1, 2 * LOW_BYTES):
        watch.judge(free)
    assert [(event.severity, event.topic) for event in events if isinstance(event, Notice)] == [
        (Severity.WARNING, "disk"),
        (Severity.INFO, "disk"),
    ]


async def test_a_disk_that_cannot_be_asked_is_told_once() -> None:
    """And looked at again, for it may be a file system that is being mounted."""

    def gone(_: Path) -> int:
        raise OSError(5, "Input/output error")

    events: list[Event] = []
    watching = asyncio.create_task(DiskWatch(Path("x"), clock=ServerClock(), report=events.append, free=gone).run())
    await until(lambda: events)
    watching.cancel()
    await asyncio.wait({watching})
    assert "Input/output error" in str(events[0])
