"""The console: the predecessor's lines, JSON lines, and what happens when nobody can read them."""

from __future__ import annotations

import io
import json
import threading
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from bmacdb.cli.console import JsonLines, TextLines, reporting
from bmacdb.recorder.events import (
    Event,
    ExchangeInfoUpdated,
    HistoryDone,
    HistoryPlanned,
    HistoryRound,
    ListenGroup,
    Notice,
    RunComplete,
    RunLate,
    RunProgress,
    RunStarted,
    Severity,
    Started,
    Stopped,
    SymbolsChanged,
)

FEED = "usdt_deli_1m"
AT = 1722660664010  # 2024-08-03 12:51:04.010+08:00
RUN = 1722660660000
SHANGHAI = ZoneInfo("Asia/Shanghai")
SETTINGS = (("interval", "1m"), ("type", "usdt_deli"), ("num_candles", "1500"))

EVENTS: tuple[Event, ...] = (
    Started(AT, "0.1.0", Path("bmac.duckdb"), (FEED,), SETTINGS, resumed=False),
    HistoryPlanned(AT, FEED, symbols=4, missing=6000),
    HistoryRound(AT, FEED, 1, 9, 2400, "BTCUSDT_240927", "ETHUSDT_241227", 4, 0, 6000, 6000),
    HistoryDone(AT, FEED, used_weight=25, fetched_bars=6000, seconds=1.5),
    ListenGroup(AT, FEED, group=0, streams=1),
    RunStarted(AT, FEED, RUN, expected=4),
    ExchangeInfoUpdated(AT, FEED, RUN, symbols=4),
    RunProgress(AT, FEED, RUN, ready=0, expected=4),
    RunProgress(AT, FEED, RUN, ready=0, expected=4),
    RunProgress(AT, FEED, RUN, ready=1, expected=4),
    RunComplete(AT, FEED, RUN, 4, 1, "ETHUSDT_241227", AT - 942, 4010),
    RunLate(AT, FEED, RUN, 4, ("币安人生USDT",)),
    SymbolsChanged(AT, FEED, ("NEWUSDT",), ("OLDUSDT",)),
    Notice(AT, Severity.WARNING, "stream", "reconnecting", FEED),
    Stopped(AT, "periods", 1, 6004),
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Encoded(io.TextIOWrapper):
    """A stream with the encoding of some console, that refuses what it does not know."""

    def __init__(self, encoding: str) -> None:
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, encoding=encoding, errors="strict", newline="")


def printed(*events: Event) -> list[str]:
    stream = io.StringIO()
    lines = TextLines(stream, SHANGHAI)
    for event in events:
        lines(event)
    lines.close()
    return stream.getvalue().splitlines()


def test_the_predecessors_users_recognise_the_lines() -> None:
    """Header, rounds, listeners, exchange info, readiness and the last symbol read as they did."""
    assert printed(*EVENTS[:11]) == [
        "===== Start bmacdb 0.1.0 2024-08-03 12:51:04+08:00 =====",
        "● interval=1m, type=usdt_deli, num_candles=1500",
        "● Database bmac.duckdb, initializing",
        "● History: 6000 candles of 4 symbols to fetch",
        "----- Init history round 1 2024-08-03 12:51:04+08:00 -----",
        "Server time: 2024-08-03 12:51:04.010+08:00, Used weight: 9",
        "Symbol range: BTCUSDT_240927 -- ETHUSDT_241227",
        "✅ 4 finished, 0 left",
        "✅ History initialized, Server time: 2024-08-03 12:51:04.010+08:00, Used weight: 25",
        "Create WS listen group 0, 1 symbols",
        "===== Bmac 1m usdt_deli update Runtime=2024-08-03 12:51:00+08:00 =====",
        "✅ 2024-08-03 12:51:04.010+08:00, Exchange infos updated",
        "2024-08-03 12:51:04.010+08:00, 0/4 symbols ready",
        "2024-08-03 12:51:04.010+08:00, 1/4 symbols ready",
        "✅ 2024-08-03 12:51:04.010+08:00, all symbols ready",
        "● Last updated ETHUSDT_241227 2024-08-03 12:51:03.068+08:00, complete 4.010 s after the boundary, 1 by REST",
    ]


def test_what_is_wrong_stands_out() -> None:
    """Late symbols are named, changes of the market and notices are told."""
    assert printed(*EVENTS[11:]) == [
        "⚠ 2024-08-03 12:51:04.010+08:00, 3/4 symbols ready at the deadline, missing 币安人生USDT; repair goes on",
        "● 2024-08-03 12:51:04.010+08:00, Listed NEWUSDT",
        "● 2024-08-03 12:51:04.010+08:00, Delisted OLDUSDT",
        "⚠ 2024-08-03 12:51:04.010+08:00, stream: reconnecting",
        "===== Stopped 2024-08-03 12:51:04.010+08:00, 1 run times, 6004 candles recorded =====",
    ]


def test_lines_name_their_feed_when_there_are_several() -> None:
    """Two feeds in one process can be told apart, and a monthly one is named as the exchange does."""
    started = Started(AT, "0.1.0", Path("b"), (FEED, "usdt_spot_1mo"), (), resumed=True)
    lines = printed(started, RunProgress(AT, FEED, RUN, 1, 4), RunStarted(AT, "usdt_spot_1mo", RUN, 4))
    assert lines[-2].endswith(f", {FEED} 1/4 symbols ready")
    assert "Bmac 1M usdt_spot update" in lines[-1]


def test_a_run_time_completed_late_is_named() -> None:
    """Completing an older run time after the next has begun says which one it was."""
    later = RunStarted(AT + 60_000, FEED, RUN + 60_000, expected=4)
    lines = printed(later, EVENTS[10])
    assert "all symbols ready for Runtime=2024-08-03 12:51:00+08:00" in lines[1]


def test_a_terminal_shows_a_bar_in_place_of_the_rounds() -> None:
    """Round, server time, weight, symbol range, finished and left stand beside the bar; no round lines are left."""
    stream = Terminal()
    lines = TextLines(stream, SHANGHAI)
    for event in EVENTS:
        lines(event)
    lines.close()
    text = stream.getvalue()
    assert "Init history round" not in text
    assert "History initialized" in text
    assert "all symbols ready" in text


@pytest.mark.parametrize("encoding", ["cp936", "cp1252", "ascii", "utf-8"])
def test_any_console_encoding_will_do(encoding: str) -> None:
    """Signs have plain fallbacks and symbols in Chinese are escaped: no console makes printing fail."""
    for log_format in ("text", "json"):
        stream = Encoded(encoding)
        with reporting(log_format, SHANGHAI, stream=stream) as report:
            for event in EVENTS:
                report(event)
        stream.flush()
        assert stream.bytes.getvalue().decode(encoding).count("\n") >= len(EVENTS)


def test_json_lines_carry_every_event_whole() -> None:
    """One object an event: a snake-case name, instants in UTC, all other fields as they are."""
    stream = io.StringIO()
    lines = JsonLines(stream)
    for event in EVENTS:
        lines(event)
    rows = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert len(rows) == len(EVENTS)
    assert {row["at"] for row in rows} == {"2024-08-03T04:51:04.010Z"}
    assert rows[0]["settings"] == dict(SETTINGS)
    assert rows[0]["database"] == "bmac.duckdb"
    assert rows[10] == {
        "event": "run_complete",
        "at": "2024-08-03T04:51:04.010Z",
        "feed": FEED,
        "run_time": "2024-08-03T04:51:00.000Z",
        "expected": 4,
        "repaired": 1,
        "last_item": "ETHUSDT_241227",
        "last_at": "2024-08-03T04:51:03.068Z",
        "late_ms": 4010,
    }
    assert rows[11]["missing"] == ["币安人生USDT"]


def test_control_signs_cannot_forge_lines() -> None:
    """Text that came from the network is printed on one line."""
    lines = printed(Notice(AT, Severity.ERROR, "rest", "bad\n\x1b[31mbody", None))
    assert lines == ["❌ 2024-08-03 12:51:04.010+08:00, rest: bad\\n\\x1b[31mbody"]


class Stuck(io.StringIO):
    """A pipe that nobody reads until `free` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.free = threading.Event()

    def write(self, text: str) -> int:
        self.free.wait(60)
        return super().write(text)


def test_a_log_that_nobody_reads_does_not_hold_the_recorder_up() -> None:
    """Reporting returns at once on a stuck stream; what was dropped is counted when it moves again."""
    stream = Stuck()
    notice = Notice(AT, Severity.INFO, "rest", "line", None)
    with reporting("text", SHANGHAI, stream=stream) as report:
        for _ in range(10_500):
            report(notice)
        stream.free.set()
    lines = stream.getvalue().splitlines()
    dropped = [line for line in lines if "were not printed" in line]
    assert dropped
    assert len(lines) - len(dropped) < 10_500


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_recording_goes_on_without_a_log() -> None:
    """When the reader of the log is gone, reports are taken and thrown away."""
    with reporting("json", None, stream=Gone()) as report:
        for event in EVENTS * 3:
            report(event)
