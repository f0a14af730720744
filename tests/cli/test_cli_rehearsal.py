"""`demo` and `run --simulate` as processes: the real recorder against a stand-in that ends with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import pytest

from bmacdb.cli.rehearsal import stand_in
from bmacdb.errors import BmacdbError
from tests.alerts.support import TOKEN, receiving

SECONDS = 100
BMACDB = (sys.executable, "-m", "bmacdb.cli.main")


def test_demo_shows_history_run_times_and_a_query_and_keeps_what_it_is_told_to(tmp_path: Path) -> None:
    """One command: three complete run times of fifty symbols, a query's result on stdout, the file where asked."""
    path = tmp_path / "demo.duckdb"
    command = [*BMACDB, "demo", "--db", str(path), "--speed", "40"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    for line in ("History initialized", "all symbols ready", "===== Stopped", "What to try next", str(path)):
        assert line in done.stderr
    assert done.stdout.splitlines()[0].split()[:3] == ["symbol", "open_time", "close"]
    assert len(done.stdout.splitlines()) == 11
    with duckdb.connect(str(path), read_only=True) as connection:
        complete = connection.execute("SELECT count(*) FROM usdt_perp_1m.runs WHERE complete_at IS NOT NULL").fetchone()
        depth = connection.execute(
            "SELECT count(DISTINCT symbol), count(*) = count(DISTINCT (symbol, open_time)) FROM usdt_perp_1m.candles"
        ).fetchone()
    assert complete is not None
    assert complete[0] >= 3
    assert depth == (50, True)


@pytest.mark.skipif(os.name == "nt", reason="no Ctrl-C can be sent to one process alone there")
def test_a_rehearsal_ends_cleanly_when_interrupted(tmp_path: Path) -> None:
    """Ctrl-C during `run --simulate`: status 130, a last event, a clean file, and no stand-in left behind."""
    command = [*BMACDB, "run", str(tmp_path), "--feed", "usdt_deli_1m", "--num-candles", "50", "--log-format", "json"]
    command += ["--simulate", "--speed", "60"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, encoding="utf-8") as process:
        watchdog = threading.Timer(SECONDS, process.kill)
        watchdog.start()
        assert process.stderr is not None
        events = []
        for line in process.stderr:
            events.append(json.loads(line))
            if events[-1]["event"] == "run_complete":
                process.send_signal(signal.SIGINT)
                break
        events += [json.loads(line) for line in process.stderr]
        process.wait()
        watchdog.cancel()
    assert process.returncode == 130
    assert events[-1]["event"] == "stopped"
    assert not (tmp_path / "bmac.duckdb.wal").exists()
    rest_url = events[0]["settings"]["rest_url"]
    with pytest.raises(OSError, match=r".*"):
        _connect(rest_url)


def _connect(url: str) -> None:
    import socket

    host, _, port = url.removeprefix("http://").partition(":")
    socket.create_connection((host, int(port)), timeout=5).close()


@pytest.mark.skipif(os.name == "nt", reason="no SIGTERM there")
def test_sigterm_is_a_clean_end_with_status_0(tmp_path: Path) -> None:
    """What a service manager sends is no failure."""
    command = [*BMACDB, "run", str(tmp_path), "--feed", "usdt_deli_1m", "--num-candles", "50", "--simulate"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, encoding="utf-8") as process:
        watchdog = threading.Timer(SECONDS, process.kill)
        watchdog.start()
        assert process.stderr is not None
        for line in process.stderr:
            if "History initialized" in line:
                process.terminate()
                break
        rest = process.stderr.read()
        process.wait()
        watchdog.cancel()
    assert process.returncode == 0, rest
    assert "Stopped by SIGTERM" in rest


@pytest.mark.parametrize("for_real", [False, True])
def test_a_rehearsal_mutes_alerts_and_says_so_unless_asked(tmp_path: Path, for_real: bool) -> None:
    """Targets of every kind, with a fault-free stand-in: the news of the start reaches the receiver only when asked."""
    with receiving() as receiver:
        robot = {"error": {"access_token": TOKEN}}
        told = {"alerts": [receiver.url.replace("http", "json")], "feeds": ["usdt_perp_1m"]}
        if not for_real:  # these would go to DingTalk itself
            told |= {"dingding": robot, "msg_sender": robot}
        (tmp_path / "config.json").write_text(json.dumps(told))
        command = [
            *BMACDB,
            "run",
            str(tmp_path),
            "--num-candles",
            "20",
            "--periods",
            "1",
            "--simulate",
            "--speed",
            "60",
        ]
        command += ["--alerts-for-real"] if for_real else []
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    assert bool(receiver.bodies) is for_real
    assert ("alerts are muted in this rehearsal" in done.stderr) is not for_real
    assert TOKEN not in done.stderr


def test_the_demo_mutes_the_alerts_of_its_directory(tmp_path: Path) -> None:
    """A bmacdb.toml beside the database that it is told to keep is no reason to wake anybody."""
    with receiving() as receiver:
        (tmp_path / "bmacdb.toml").write_text(f'alerts = ["{receiver.url.replace("http", "json")}"]')
        command = [*BMACDB, "demo", "--db", str(tmp_path / "demo.duckdb"), "--speed", "40"]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    assert receiver.bodies == []
    assert "alerts are muted in this rehearsal" in done.stderr


def test_alerts_for_real_is_for_rehearsals_alone(tmp_path: Path) -> None:
    """Without --simulate alerts are sent anyway: the flag there is a mistake."""
    command = [*BMACDB, "run", str(tmp_path), "--feed", "usdt_perp_1m", "--alerts-for-real"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=SECONDS, check=False)
    assert done.returncode == 2
    assert "--simulate" in done.stderr


def test_a_stand_in_that_does_not_start_says_why() -> None:
    """What the child printed is in the error."""
    with pytest.raises(BmacdbError, match="no-such-option"), stand_in(arguments=("--no-such-option",)):
        pass
