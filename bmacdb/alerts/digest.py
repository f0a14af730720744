"""Alerts gathered into messages, so that a bad hour is a few messages and not a thousand. Pure.

Alerts of the same moment go together; between two messages there is a pause; a trouble that goes on is repeated
rarely, with the number of times; one that comes and goes is told again only after a while.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo

from bmacdb.alerts.rules import Alert, Level
from bmacdb.clock import from_ms

__all__ = ["Digest", "Message"]

_GATHER_S = 2.0
_PAUSE_S = 60.0
_REPEAT_S = 1800.0
_RELAPSE_S = 300.0
_MOST_LINES = 20
_MOST_BYTES = 1800  # WeCom cuts at 2048, Discord at 2000
_MOST_LINE = 400
_MOST_KEYS = 2000
_RANK = {Level.INFO: 0, Level.GOOD: 1, Level.WARNING: 2, Level.ERROR: 3}
_SIGN = {Level.ERROR: "❌", Level.WARNING: "⚠", Level.INFO: "●", Level.GOOD: "✅"}


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: `level` is that of its worst line."""

    title: str
    body: str
    level: Level


@dataclass(slots=True)
class _Known:
    told: float
    open: bool = True
    again: int = 0


class Digest:
    """Takes alerts and gives messages; `now` is in monotonic seconds. `name` begins every title."""

    def __init__(self, name: str, zone: tzinfo | None = None) -> None:
        self._name, self._zone = name, zone
        self._lines: list[tuple[Level, str]] = []
        self._left_out = 0
        self._known: dict[str, _Known] = {}
        self._first: float | None = None
        self._sent = float("-inf")

    def add(self, alert: Alert, now: float) -> bool:
        """Take an alert; False when it is kept back, because it repeats what has been told."""
        again = 0
        if alert.key is not None:
            known = self._known.get(alert.key)
            if alert.level is Level.GOOD:
                if known is None or not known.open:
                    return False  # nobody was told of the trouble
                known.open = False
            elif known is not None and now - known.told < (_REPEAT_S if known.open else _RELAPSE_S):
                known.again += 1
                return False
            else:
                again = known.again if known else 0
                self._known[alert.key] = _Known(now)
                if len(self._known) > _MOST_KEYS:
                    del self._known[next(iter(self._known))]
        self._line(alert, again)
        if self._first is None:
            self._first = now
        return True

    def _line(self, alert: Alert, again: int) -> None:
        if len(self._lines) >= _MOST_LINES:
            self._left_out += 1
            return
        text = alert.text if len(alert.text) <= _MOST_LINE else alert.text[: _MOST_LINE - 1] + "…"
        more = f" ({again} more times since it was last told)" if again else ""
        at = f"{from_ms(alert.at_ms).astimezone(self._zone):%H:%M:%S}"
        self._lines.append((alert.level, f"{_SIGN[alert.level]} {at} {text}{more}"))

    def due(self) -> float | None:
        """When the next message is to be taken; None while there is nothing to tell."""
        return None if self._first is None else max(self._first + _GATHER_S, self._sent + _PAUSE_S)

    def take(self, now: float, *, closing: bool = False) -> Message | None:
        """The message that is due at `now`, or whatever there is when `closing`."""
        due = self.due()
        if due is None or (now < due and not closing):
            return None
        lines, total = self._lines, len(self._lines) + self._left_out
        self._lines, self._left_out, self._first, self._sent = [], 0, None, now
        worst = max((level for level, _ in lines), key=_RANK.__getitem__)
        shown: list[str] = []
        size = 0
        for _, line in sorted(lines, key=lambda one: -_RANK[one[0]]):  # the worst first, else in order
            size += len(line.encode()) + 1
            if size > _MOST_BYTES and shown:
                break
            shown.append(line)
        if total > len(shown):
            shown.append(f"… and {total - len(shown)} more; the recorder's log has them all")
        what = {Level.GOOD: "recovered", Level.INFO: "news"}.get(worst, str(worst))
        title = f"{self._name}: {what}" if total == 1 else f"{self._name}: {total} alerts"
        return Message(title, "\n".join(shown), worst)
