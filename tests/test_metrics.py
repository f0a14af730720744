"""Metrics: the page that Prometheus reads, held to what the recorder tells."""

from __future__ import annotations

import socket
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bmacdb.errors import UsageError
from bmacdb.recorder.events import Event, Notice, RunComplete, RunLate, RunProgress, RunStarted, Severity
from bmacdb.recorder.metrics import Meter, metered

FEED = "usdt_perp_1m"
RUN = 1_700_000_040_000

INFO = {
    "version": "0.1.0",
    "started_ms": RUN - 5000,
    "queue": 3,
    "rss_bytes": 200_000_000,
    "skew_ms": -250.0,
    "malformed_frames": 2,
    "weight": {"spot": {"used": 40, "limit": 6000}},
    "feeds": {
        FEED: {
            "live": True,
            "halted": True,
            "open_gaps": 1,
            "sockets": [
                {"streams": 30, "state": "receiving", "frames": 100, "reconnects": 0, "bytes": 30_000},
                {"streams": 29, "state": "connecting", "frames": 50, "reconnects": 2, "bytes": 15_000},
            ],
        }
    },
}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def scrape(port: int) -> dict[tuple[str, str], float]:
    """(name, value of the only or last label) -> value of the page, read with Prometheus' own parser."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/metrics") as response,
    ):
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/plain")
        text = await response.text()
    return {
        (sample.name, ([*sample.labels.values()] or [""])[-1]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_the_page_has_what_was_told_and_what_is(tmp_path: Path) -> None:
    """Latency, readiness, frames, bytes, reconnects, queue, weight, commit time, gaps, sizes, memory."""
    database = tmp_path / "bmac.duckdb"
    database.write_bytes(b"x" * 4096)
    seen: list[Event] = []
    port = free_port()
    async with metered("127.0.0.1", port, seen.append) as (report, meter):
        events = [
            RunStarted(RUN, FEED, RUN, 60),
            RunProgress(RUN, FEED, RUN, 40, 60),
            RunLate(RUN + 40_000, FEED, RUN, 60, ("BTCUSDT",)),
            RunStarted(RUN + 60_000, FEED, RUN + 60_000, 59),
            RunComplete(RUN + 70_000, FEED, RUN, 60, 1, "BTCUSDT", RUN + 70_000, 70_000),
            RunComplete(RUN + 60_400, FEED, RUN + 60_000, 59, 0, "ETHUSDT", RUN + 60_400, 400),
            Notice(RUN, Severity.WARNING, "rest", "no answer"),
            Notice(RUN, Severity.INFO, "store", "all is well"),
        ]
        for event in events:
            report(event)
        meter.committed(FEED, 59, 0.004)
        meter.committed(FEED, 0, 0.002)
        before = await scrape(port)
        meter.watch(lambda: INFO, database)
        page = await scrape(port)
    assert seen == events
    assert ("bmacdb_queue_messages", "") not in before
    assert page["bmacdb_ready_seconds_count", FEED] == 2
    assert page["bmacdb_ready_seconds_sum", FEED] == pytest.approx(70.4)
    assert page["bmacdb_ready_seconds_bucket", "0.5"] == 1
    assert page["bmacdb_run_ready", FEED] == page["bmacdb_run_expected", FEED] == 59
    assert page["bmacdb_complete_run_time_seconds", FEED] == (RUN + 60_000) / 1000
    assert page["bmacdb_late_runs_total", FEED] == 1
    assert page["bmacdb_repaired_candles_total", FEED] == 1
    assert page["bmacdb_candles_total", FEED] == 59
    assert page["bmacdb_commit_seconds_count", FEED] == 2
    assert page["bmacdb_frames_total", FEED] == 150
    assert page["bmacdb_stream_bytes_total", FEED] == 45_000
    assert page["bmacdb_reconnects_total", FEED] == 2
    assert page["bmacdb_receiving_sockets", FEED] == 1
    assert page["bmacdb_open_gaps", FEED] == 1
    assert page["bmacdb_halted", FEED] == 1
    assert page["bmacdb_weight_used", "spot"] == 40
    assert page["bmacdb_queue_messages", ""] == 3
    assert page["bmacdb_resident_bytes", ""] == 200_000_000
    assert page["bmacdb_clock_skew_seconds", ""] == -0.25
    assert page["bmacdb_file_bytes", ""] == 4096
    assert page["bmacdb_log_bytes", ""] == 0
    assert page["bmacdb_notices_total", "rest"] == 1
    assert ("bmacdb_notices_total", "store") not in page


async def test_an_earlier_run_does_not_overwrite_the_newest() -> None:
    """A late candle completes an old run while a new one is half ready."""
    port = free_port()
    async with metered("127.0.0.1", port, lambda _: None) as (report, _):
        report(RunStarted(RUN, FEED, RUN, 60))
        report(RunStarted(RUN + 60_000, FEED, RUN + 60_000, 60))
        report(RunProgress(RUN + 61_000, FEED, RUN + 60_000, 30, 60))
        report(RunComplete(RUN + 62_000, FEED, RUN, 60, 0, "BTCUSDT", RUN + 62_000, 62_000))
        page = await scrape(port)
    assert page["bmacdb_run_ready", FEED] == 30


async def test_off_by_default_nothing_listens_and_the_report_is_the_one_given() -> None:
    """And what is to be measured is forgotten."""
    report = [].append
    async with metered("127.0.0.1", None, report) as (same, meter):
        assert same is report
        assert type(meter) is Meter
        meter.committed(FEED, 1, 0.1)
        meter.watch(lambda: INFO, Path("x"))


async def test_a_port_in_use_is_a_wrong_setting() -> None:
    """The message says which, and what to choose."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"127.0.0.1:{port}.*--metrics-port"):
            async with metered("127.0.0.1", port, lambda _: None):
                pass


async def test_two_recorders_of_one_process_do_not_mix() -> None:
    """Each has a registry of its own."""
    first, second = free_port(), free_port()
    async with (
        metered("127.0.0.1", first, lambda _: None) as (report, _),
        metered("127.0.0.1", second, lambda _: None),
    ):
        report(RunStarted(RUN, FEED, RUN, 60))
        assert ("bmacdb_run_expected", FEED) in await scrape(first)
        assert ("bmacdb_run_expected", FEED) not in await scrape(second)
