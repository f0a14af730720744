"""Alerting: a Report that passes every event on, and sends what deserves it from a thread of its own.

The recorder puts an event into a bounded queue and is done with it: a target that is slow, down or wrong costs the
alert, never a candle. What could not be sent is told in the recorder's log.
"""

from __future__ import annotations

import platform
import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import tzinfo

from bmacdb.alerts.digest import Digest, Message
from bmacdb.alerts.rules import ALERTED, Alert, Level, Rules
from bmacdb.alerts.sender import SendFailed, Target, open_targets
from bmacdb.alerts.targets import Mask, alert_urls
from bmacdb.clock import Clock, SystemClock
from bmacdb.recorder.events import Event, Notice, Report, Severity
from bmacdb.settings import Settings

__all__ = ["Alerter", "alerting", "message_name", "trial_message"]

_QUEUE_EVENTS = 1000
_RETRY_S = (5.0, 30.0, 120.0, 600.0)
_MOST_DELIVERIES = 100
_CLOSE_S = 15.0


def message_name() -> str:
    """What titles begin with. (Robots that want a keyword in every message may have `bmacdb`.)"""
    return f"bmacdb on {platform.node() or 'this machine'}"


def trial_message() -> Message:
    """What `bmacdb alerts test` sends."""
    return Message(message_name(), "● This is a test: alerts will come here.", Level.INFO)


@contextmanager
def alerting(settings: Settings, report: Report) -> Iterator[Report]:
    """A Report that also alerts, as long as the block lasts; `report` itself where no target is set.

    `report` must take calls from any thread. An error that ends the block is alerted and goes on.
    Raises UsageError for targets that cannot be used.
    """
    urls = alert_urls(settings)
    if not urls:
        yield report
        return
    alerter = Alerter(open_targets(urls), report, mask=Mask(urls), zone=settings.timezone)

    def both(event: Event) -> None:
        report(event)
        alerter.take(event)

    try:
        yield both
    except Exception as error:
        alerter.ended(error)
        raise
    finally:
        alerter.close()


@dataclass(slots=True)
class _Delivery:
    target: Target
    message: Message
    due: float
    attempts: int = 0


class Alerter:
    """Takes events; a thread of its own judges, gathers and sends them. `tell` hears of what could not be sent."""

    def __init__(
        self,
        targets: Sequence[Target],
        tell: Report,
        *,
        mask: Mask | None = None,
        zone: tzinfo | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._targets, self._tell = targets, tell
        self._mask = mask or Mask(())
        self._clock = clock or SystemClock()
        self._rules = Rules(zone)
        self._digest = Digest(message_name(), zone)
        self._events: queue.Queue[Event | Alert | None] = queue.Queue(_QUEUE_EVENTS)
        self._deliveries: list[_Delivery] = []
        self._failing: set[str] = set()
        self._lost = 0
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="alerts", daemon=True)
        self._thread.start()

    def take(self, event: Event) -> None:
        """Take an event at once; it is dropped, and counted, when a thousand wait."""
        if isinstance(event, ALERTED):
            self._put(event)

    def ended(self, error: Exception) -> None:
        """Alert that `error` ended the recording."""
        text = f"the recorder ended: {error or type(error).__name__}"
        self._put(Alert(self._clock.now_ms(), Level.ERROR, None, text))

    def _put(self, item: Event | Alert) -> None:
        try:
            self._events.put_nowait(item)
        except queue.Full:
            self._lost += 1

    def close(self) -> None:
        """Send what waits, once, and end; what takes longer than 15 seconds is given up."""
        self._closing = True
        try:
            self._events.put(None, timeout=_CLOSE_S)
        except queue.Full:
            return  # the thread hangs in a target; it is a daemon
        self._thread.join(_CLOSE_S)

    # The thread's part

    def _work(self) -> None:
        while (item := self._next()) is not None:
            if item:
                self._judge(item[0])
            self._send_due()
        if (message := self._digest.take(self._clock.monotonic(), closing=True)) is not None:
            self._deliver(message)
        for delivery in self._deliveries:
            self._attempt(delivery, last=True)

    def _next(self) -> tuple[Event | Alert, ...] | None:
        """The next event, () when it is time to look at what is due, None at the end."""
        dues = [delivery.due for delivery in self._deliveries]
        if (due := self._digest.due()) is not None:
            dues.append(due)
        wait = None if not dues else max(min(dues) - self._clock.monotonic(), 0.0)
        try:
            item = self._events.get(timeout=wait)
        except queue.Empty:
            return ()
        return None if item is None else (item,)

    def _judge(self, item: Event | Alert) -> None:
        alerts = [item] if isinstance(item, Alert) else self._rules.take(item)
        if self._lost:
            lost, self._lost = self._lost, 0
            text = f"{lost} events came too fast to be looked at; the recorder's log has them"
            alerts.append(Alert(item.at_ms, Level.WARNING, "alerts", text))
        for alert in alerts:
            self._digest.add(alert, self._clock.monotonic())

    def _send_due(self) -> None:
        now = self._clock.monotonic()
        if (message := self._digest.take(now)) is not None:
            self._deliver(message)
        for delivery in [delivery for delivery in self._deliveries if delivery.due <= now]:
            if not self._closing:
                self._deliveries.remove(delivery)
                self._attempt(delivery)

    def _deliver(self, message: Message) -> None:
        clean = Message(self._mask(message.title), self._mask(message.body), message.level)
        now = self._clock.monotonic()
        self._deliveries += [_Delivery(target, clean, now) for target in self._targets]
        del self._deliveries[:-_MOST_DELIVERIES]  # the oldest have been tried most often

    def _attempt(self, delivery: _Delivery, *, last: bool = False) -> None:
        name = delivery.target.name
        try:
            delivery.target.send(delivery.message)
        except SendFailed as error:
            if last or delivery.attempts == len(_RETRY_S):
                self._say(f"an alert was given up: {error}")
                return
            if name not in self._failing:
                self._say(f"{error}; trying again")
            self._failing.add(name)
            delivery.due = self._clock.monotonic() + _RETRY_S[delivery.attempts]
            delivery.attempts += 1
            self._deliveries.append(delivery)
        else:
            self._failing.discard(name)

    def _say(self, text: str) -> None:
        self._tell(Notice(self._clock.now_ms(), Severity.WARNING, "alerts", self._mask(text)))
