"""Which events deserve an alert, and when a trouble is over. Pure.

What heals itself within seconds (a connection that is renewed, a request that is tried again) is no alert until it
lasts; what concerns the data (stragglers, a full disk, a ban) is told at once, and so is its end.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import tzinfo
from enum import StrEnum

from bmacdb.clock import from_ms
from bmacdb.recorder.events import (
    Event,
    Notice,
    RunComplete,
    RunLate,
    Severity,
    Started,
    SymbolsChanged,
)

__all__ = ["ALERTED", "Alert", "Level", "Rules"]

ALERTED = (Started, RunLate, RunComplete, SymbolsChanged, Notice)
"""The kinds of events that `Rules` looks at."""

_NAMES = 8
_OFTEN, _WITHIN_MS = 3, 600_000  # what heals itself is alerted when it comes so often within so long
_AT_ONCE = frozenset({"silence", "limit", "serve", "clock", "watchdog", "disk", "store", "halt"})
_LASTING = frozenset({"rest", "stream", "frames"})
_OVER_WITH_A_RUN = frozenset({"rest", "stream", "silence"})  # a later run that is complete proves it
_MOST_LATE = 1000


class Level(StrEnum):
    """How bad it is; `good` is the end of a trouble."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    GOOD = "good"


@dataclass(frozen=True, slots=True)
class Alert:
    """Something worth a message. Alerts of one `key` are one trouble, and a good one ends it; without a key each
    stands for itself."""

    at_ms: int
    level: Level
    key: str | None
    text: str


class Rules:
    """Turns events into alerts. `zone` is that of the times in texts (the machine's when None)."""

    def __init__(self, zone: tzinfo | None = None) -> None:
        self._zone = zone
        self._late: dict[str, dict[int, None]] = {}  # feed -> run times that were alerted and are not complete
        self._seen: dict[str, deque[int]] = {}
        self._troubles: dict[str, tuple[str | None, int]] = {}  # key -> feed, time of its last sign

    def take(self, event: Event) -> list[Alert]:
        """The alerts that `event` leads to."""
        match event:
            case Started():
                text = f"recording {', '.join(event.feeds)} into {event.database.name}, bmacdb {event.version}"
                return [Alert(event.at_ms, Level.INFO, None, f"started: {text}")]
            case RunLate():
                return [self._run_late(event)]
            case RunComplete():
                return self._run_complete(event)
            case SymbolsChanged():
                texts = [
                    f"{event.feed}: {what} {_some(names)}"
                    for what, names in (("listed", event.listed), ("delisted", event.delisted))
                    if names
                ]
                return [Alert(event.at_ms, Level.INFO, None, text) for text in texts]
            case Notice():
                return self._notice(event)
        return []

    def _run_late(self, event: RunLate) -> Alert:
        late = self._late.setdefault(event.feed, {})
        late[event.run_time_ms] = None
        while len(late) > _MOST_LATE:
            del late[next(iter(late))]
        text = (
            f"{event.feed} {self._time(event.run_time_ms)}: {len(event.missing)} of {event.expected} missing at the "
            f"deadline: {_some(event.missing)}; repair goes on"
        )
        return Alert(event.at_ms, Level.WARNING, f"late/{event.feed}", text)

    def _run_complete(self, event: RunComplete) -> list[Alert]:
        alerts = []
        late = self._late.get(event.feed, {})
        was_late = event.run_time_ms in late
        late.pop(event.run_time_ms, None)
        if was_late and not late:
            after = f"{self._time(event.run_time_ms)} complete after {event.late_ms / 1000:.0f} s"
            text = f"{event.feed}: whole again, {after}"
            alerts.append(Alert(event.at_ms, Level.GOOD, f"late/{event.feed}", text))
        elif late and not was_late and event.run_time_ms > max(late):
            text = f"{event.feed}: on time again; {len(late)} earlier run times are still incomplete"
            alerts.append(Alert(event.at_ms, Level.GOOD, f"late/{event.feed}", text))
            late.clear()
        for key, (feed, last_ms) in list(self._troubles.items()):
            if feed in (None, event.feed) and event.run_time_ms > last_ms:
                del self._troubles[key]
                topic = key.partition("/")[0]
                text = f"{event.feed}: {topic} trouble is over, {self._time(event.run_time_ms)} is complete"
                alerts.append(Alert(event.at_ms, Level.GOOD, key, text))
        return alerts

    def _notice(self, event: Notice) -> list[Alert]:
        text = f"{event.feed}: {event.text}" if event.feed else event.text
        key = f"{event.topic}/{event.feed or ''}"
        if event.severity is Severity.INFO:
            return [Alert(event.at_ms, Level.GOOD, key, text)] if event.topic in _AT_ONCE else []
        if event.topic == "stream":  # such texts begin with the group of connections that they are about
            key += "/" + event.text.partition(":")[0]
        if event.severity is Severity.WARNING and event.topic not in _AT_ONCE and not self._lasts(event, key):
            return []
        if event.topic in _OVER_WITH_A_RUN:
            self._troubles[key] = event.feed, event.at_ms
        level = Level.ERROR if event.severity is Severity.ERROR else Level.WARNING
        return [Alert(event.at_ms, level, key, text)]

    def _lasts(self, event: Notice, key: str) -> bool:
        if event.topic not in _LASTING:
            return False
        seen = self._seen.setdefault(key, deque(maxlen=_OFTEN))
        seen.append(event.at_ms)
        return len(seen) == _OFTEN and event.at_ms - seen[0] <= _WITHIN_MS

    def _time(self, ms: int) -> str:
        return f"{from_ms(ms).astimezone(self._zone):%m-%d %H:%M:%S}"


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more
