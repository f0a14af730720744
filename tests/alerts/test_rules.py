"""Which events are alerts, how they are gathered, and when a trouble is over."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path

import pytest

from bmacdb.alerts.digest import Digest
from bmacdb.alerts.rules import Alert, Level, Rules
from bmacdb.recorder.events import Event, RunProgress, Severity, Started, SymbolsChanged
from tests.alerts.support import FEED, T0, complete, late, notice


def judged(*events: Event) -> list[tuple[Level, str]]:
    rules = Rules(UTC)
    return [(alert.level, alert.text) for event in events for alert in rules.take(event)]


def levels(*events: Event) -> list[Level]:
    return [level for level, _ in judged(*events)]


def test_ordinary_events_are_no_alerts() -> None:
    """Runs that are complete in time, progress, a renewed connection, a request tried again."""
    quiet = (
        complete(0),
        RunProgress(T0, FEED, T0, 1, 2),
        notice("stream", "group 3: connection closed (1006); connecting anew"),
        notice("rest", "klines: no answer within 5 s. Trying again in 0.5 s."),
        notice("settings", "save_type has no meaning here"),
        notice("history", "all there", Severity.INFO),
    )
    assert judged(*quiet) == []


def test_stragglers_are_alerted_and_their_arrival_ends_it() -> None:
    """The symbols are named, and it is over when the last late run is complete."""
    (first,) = judged(late(0, "BTCUSDT", "币安人生USDT"))
    assert first[0] is Level.WARNING
    assert "2 of 540 missing" in first[1]
    assert "BTCUSDT, 币安人生USDT" in first[1]
    assert levels(late(0), late(1), complete(0, 90_000)) == [Level.WARNING] * 2
    ended = judged(late(0), late(1), complete(0, 90_000), complete(1, 80_000))
    assert ended[-1] == (Level.GOOD, f"{FEED}: whole again, 11-14 22:15:00 complete after 80 s")


def test_a_run_in_time_after_late_ones_ends_the_trouble_too() -> None:
    """A bar that the exchange never made keeps its run incomplete for ever: the alert must not stay open with it."""
    ended = judged(late(0), complete(1))
    assert ended[-1][0] is Level.GOOD
    assert "1 earlier run times are still incomplete" in ended[-1][1]
    assert levels(late(0), complete(1), complete(2)) == [Level.WARNING, Level.GOOD]


@pytest.mark.parametrize("topic", ["silence", "limit", "serve", "clock", "watchdog", "disk", "store"])
def test_what_concerns_the_data_is_alerted_at_once(topic: str) -> None:
    """A ban, silent streams, a full disk: the first sign is enough."""
    assert levels(notice(topic, "bad")) == [Level.WARNING]


def test_any_error_is_alerted() -> None:
    """Whatever its topic."""
    assert levels(notice("never heard of", "bad", Severity.ERROR)) == [Level.ERROR]


@pytest.mark.parametrize("topic", ["rest", "stream", "frames"])
def test_what_heals_itself_is_alerted_when_it_lasts(topic: str) -> None:
    """Three times within ten minutes, but not over an hour."""
    within = [notice(topic, "group 3: bad", at_ms=T0 + minute * 60_000) for minute in range(3)]
    assert levels(*within) == [Level.WARNING]
    rarely = [notice(topic, "group 3: bad", at_ms=T0 + hour * 3_600_000) for hour in range(5)]
    assert levels(*rarely) == []


def test_groups_that_renew_one_after_another_are_no_trouble() -> None:
    """Each group of connections counts for itself: once a day all of them are renewed."""
    assert levels(*(notice("stream", f"{FEED} group {group}: nears its age") for group in range(8))) == []


def test_a_complete_run_proves_that_connections_and_requests_work() -> None:
    """A run that began after the last sign of trouble, and not an earlier one."""
    bad = [notice("rest", "no answer", at_ms=T0 + 1_000 * second) for second in (1, 2, 3)]
    assert levels(*bad, complete(0)) == [Level.WARNING]
    assert levels(*bad, complete(1)) == [Level.WARNING, Level.GOOD]
    assert levels(*bad, complete(1), complete(2)) == [Level.WARNING, Level.GOOD]


def test_listings_delistings_and_starts_are_news() -> None:
    """A start matters too: after a crash it says that somebody restarted the recorder."""
    found = judged(
        SymbolsChanged(T0, FEED, ("NEWUSDT",), ("OLDUSDT",)),
        Started(T0, "1.0", Path("x.duckdb"), (FEED,), (), resumed=True),
    )
    assert [text for _, text in found] == [
        f"{FEED}: listed NEWUSDT",
        f"{FEED}: delisted OLDUSDT",
        f"started: recording {FEED} into x.duckdb, bmacdb 1.0",
    ]


# Gathering


def alert(text: str = "bad", level: Level = Level.WARNING, key: str | None = "k") -> Alert:
    return Alert(T0, level, key, text)


def test_alerts_of_one_moment_are_one_message() -> None:
    """It waits two seconds for more, and begins with the worst."""
    digest = Digest("bmacdb", UTC)
    digest.add(alert("first", key="a"), 100.0)
    digest.add(alert("worst", Level.ERROR, key="b"), 101.0)
    assert digest.take(101.5) is None
    assert digest.due() == 102.0
    message = digest.take(102.0)
    assert message is not None
    assert message.title == "bmacdb: 2 alerts"
    assert message.level is Level.ERROR
    assert [line[0] for line in message.body.splitlines()] == ["❌", "⚠"]
    assert digest.due() is None


def test_between_messages_there_is_a_minute() -> None:
    """And a closing recorder does not wait for it."""
    digest = Digest("bmacdb", UTC)
    digest.add(alert(key="a"), 0.0)
    assert digest.take(2.0)
    digest.add(alert(key="b"), 3.0)
    assert digest.due() == 62.0
    assert digest.take(10.0) is None
    assert digest.take(10.0, closing=True)


def test_a_trouble_that_goes_on_is_repeated_every_half_hour_with_its_count() -> None:
    """One alert a minute for an hour makes two lines."""
    digest = Digest("bmacdb", UTC)
    bodies = []
    for minute in range(60):
        digest.add(alert("late"), minute * 60.0)
        if message := digest.take(minute * 60.0 + 30):
            bodies.append(message.body)
    assert len(bodies) == 2
    assert "29 more times" in bodies[1]


def test_an_end_is_told_to_those_who_were_told_of_the_trouble() -> None:
    """Once; and a trouble that comes back at once is kept back for five minutes, with its end."""
    digest = Digest("bmacdb", UTC)
    good = alert("over", Level.GOOD)
    assert not digest.add(good, 0.0)
    assert digest.add(alert(), 1.0)
    assert digest.add(good, 2.0)
    assert not digest.add(good, 3.0)
    assert not digest.add(alert(), 60.0)
    assert not digest.add(good, 61.0)
    assert digest.add(alert(), 302.0)


def test_a_flood_is_cut_and_counted() -> None:
    """A thousand alerts fit into one message that every service takes whole."""
    digest = Digest("bmacdb", UTC)
    for number in range(1000):
        digest.add(alert("币" * 300, key=f"{number}"), 0.0)
    message = digest.take(2.0)
    assert message is not None
    assert len(message.body.encode()) < 2000
    assert message.title == "bmacdb: 1000 alerts"
    assert message.body.endswith("more; the recorder's log has them all")
