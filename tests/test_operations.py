"""A whole recorder as it is operated: alerts, metrics and a supervisor at once."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.acceptance.support import Recorder
from tests.alerts.support import receiving
from tests.simulated.support import running
from tests.test_metrics import free_port, scrape
from tests.test_watchdog import notified

FEED = "usdt_perp_1m"


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="systemd and its sockets are Linux's")
async def test_a_recorder_alerts_measures_and_tells_its_supervisor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything on at once: what each of them gets belongs to the same recording, and no secret is logged."""
    port = free_port()
    with receiving() as receiver, notified(tmp_path) as (environ, systemd):
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("BMACDB_ALERTS", receiver.url.replace("http", "json") + "/hushhush")
        async with running(symbols=4, speed=60.0, updates_per_second=2.0) as client:
            arguments = ("--feed", FEED, "--num-candles", "20", "--metrics-port", str(port))
            async with Recorder(client.exchange, tmp_path, arguments) as recorder:
                await recorder.until("run_complete", 2)
                page = await scrape(port)
                status = await recorder.stop()
        said = systemd.recv(1000)
        assert said == b"READY=1"
        while said != b"STOPPING=1":
            said = systemd.recv(1000)
            assert said.startswith((b"WATCHDOG=1\nSTATUS=", b"STOPPING=1"))
        receiver.wait(lambda: bool(receiver.bodies))
    assert status == 0, recorder.story()
    assert f"started: recording {FEED} into bmac.duckdb" in receiver.bodies[0]["message"]
    assert page["bmacdb_ready_seconds_count", FEED] >= 2
    assert page["bmacdb_candles_total", FEED] >= 4 * 20
    assert page["bmacdb_commit_seconds_count", FEED] >= 2
    assert page["bmacdb_frames_total", FEED] > 0
    assert page["bmacdb_stream_bytes_total", FEED] > 100
    assert page["bmacdb_live", FEED] == 1
    assert page["bmacdb_weight_limit", "futures"] == 2400
    assert page["bmacdb_resident_bytes", ""] > 1e7
    assert page["bmacdb_file_bytes", ""] + page["bmacdb_log_bytes", ""] > 0
    assert "hushhush" not in recorder.story()
