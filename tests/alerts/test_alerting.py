"""The thread between recorder and targets: nothing that a target does reaches the recorder."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest

from bmacdb.alerts.alerting import Alerter, alerting
from bmacdb.alerts.digest import Message
from bmacdb.alerts.sender import SendFailed
from bmacdb.alerts.targets import Mask
from bmacdb.config import load_settings
from bmacdb.errors import StoreFull, UsageError
from bmacdb.recorder.events import Event, Notice, Severity
from tests.alerts.support import complete, late, notice, receiving


@dataclass
class Told:
    """A target that keeps what it gets, fails so many times first, and waits for `free` where it is given."""

    name: str = "Told"
    failures: int = 0
    free: threading.Event | None = None
    messages: list[Message] = field(default_factory=list)
    asked: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def send(self, message: Message) -> None:
        self.asked.release()
        if self.free is not None:
            self.free.wait()
        if self.failures:
            self.failures -= 1
            raise SendFailed("Told did not take it: token s3cr3t is wrong")
        self.messages.append(message)

    @property
    def text(self) -> str:
        return "\n".join(message.body for message in self.messages)


def test_alerts_reach_every_target_by_the_end() -> None:
    """Closing sends what still waits."""
    first, second = Told(), Told()
    alerter = Alerter([first, second], lambda _: None)
    alerter.take(late(0, "BTCUSDT"))
    alerter.take(complete(0, 70_000))
    alerter.close()
    for target in (first, second):
        assert "BTCUSDT" in target.text
        assert "whole again" in target.text


def test_a_target_that_fails_is_told_in_the_log_and_keeps_nothing_from_the_others() -> None:
    """With its secrets masked."""
    events: list[Event] = []
    bad, good = Told(failures=100), Told()
    alerter = Alerter([bad, good], events.append, mask=Mask(["x://s3cr3t@host"]))
    alerter.take(notice("store", "the disk is full; token s3cr3t", Severity.ERROR))
    bad.asked.acquire()
    alerter.close()
    assert "the disk is full" in good.text
    assert "s3cr3t" not in good.text
    told = [event for event in events if isinstance(event, Notice)]
    assert told
    assert all(event.topic == "alerts" and "s3cr3t" not in event.text for event in told)
    assert "given up" in told[-1].text


def test_a_target_that_hangs_costs_the_recorder_nothing() -> None:
    """Ten thousand events are taken while it hangs; those that found no room are counted."""
    target = Told(free=threading.Event())
    assert target.free is not None
    alerter = Alerter([target], lambda _: None)
    alerter.take(notice("store", "first", Severity.ERROR))
    target.asked.acquire()
    for number in range(10_000):
        alerter.take(notice("store", f"number {number}", Severity.ERROR))
    target.free.set()
    alerter.close()
    assert "first" in target.text
    assert "events came too fast" in target.text


def test_the_error_that_ends_a_recording_is_alerted_and_goes_on() -> None:
    """Through the whole way, to a webhook on this machine."""
    with receiving() as receiver:
        url = receiver.url.replace("http", "json")
        settings = load_settings(None, {"feeds": ("usdt_perp_1m",), "alerts": url}, {})
        events: list[Event] = []
        with pytest.raises(StoreFull), alerting(settings, events.append) as report:  # noqa: PT012
            report(late(0, "BTCUSDT"))
            raise StoreFull("no space left")
    assert len(events) == 1
    (body,) = receiver.bodies
    assert "the recorder ended: no space left" in body["message"]
    assert "BTCUSDT" in body["message"]


def test_without_a_target_nothing_is_started() -> None:
    """The report is the one that was given, and no thread runs."""
    settings = load_settings(None, {"feeds": ("usdt_perp_1m",)}, {})
    report = [].append
    threads = threading.active_count()
    with alerting(settings, report) as same:
        assert same is report
        assert threading.active_count() == threads


def test_a_target_that_cannot_be_used_ends_the_command_before_it_records() -> None:
    """A typo in a URL is a wrong setting."""
    settings = load_settings(None, {"feeds": ("usdt_perp_1m",), "alerts": "jsno://x"}, {})
    with pytest.raises(UsageError, match="jsno"), alerting(settings, lambda _: None):
        pass
