"""`bmacdb simulate` as a process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bmacdb.interval import HOUR_MS
from bmacdb.model import Market
from bmacdb.simulated import Bar, Universe
from tests.simulated.support import START_MS

COMMAND = [sys.executable, "-m", "bmacdb.cli.main", "simulate"]


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command, running; it is ended at the end of the block whatever happens."""
    child = subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "PYTHONWARNINGS": "error", "PYTHONIOENCODING": "utf-8"},
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout, child.stderr):
            assert pipe is not None
            pipe.close()


def fetch(url: str) -> object:
    """The JSON at a URL."""
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=60) as response:
        return json.load(response)


def test_a_program_learns_where_to_connect_and_can_check_every_row() -> None:
    """One line of JSON; with its start and seed, another process knows all the candles. It ends with its parent."""
    arguments = ("--format", "json", "--symbols", "3", "--seed", "5", "--start", str(START_MS), "--die-with-parent")
    with process(*arguments, "--fault", "lost:0.5", "--market", "spot") as child:
        assert child.stdout is not None
        assert child.stdin is not None
        told = json.loads(child.stdout.readline())
        assert told["pid"] == child.pid
        assert told["speed"] == 1
        query = f"symbol=ETHUSDT&interval=1h&endTime={START_MS - 1}&limit=5"
        rows = fetch(f"{told['rest_url']}/api/v3/klines?{query}")
        assert isinstance(rows, list)
        assert fetch(f"{told['markets']['spot']['rest_url']}/api/v3/klines?{query}") == rows
        universe = Universe(start_ms=told["start_ms"], symbols=3, seed=told["seed"], markets=[Market.SPOT])
        bars = universe.expected(Market.SPOT, "ETHUSDT", "1h", START_MS - 5 * HOUR_MS, START_MS)
        numbers = [[float(value) for value in row[:11]] for row in rows]
        assert numbers == [[float(value) for value in bar] for bar in bars]
        assert len(bars[0]) == len(Bar._fields)
        child.stdin.close()
        assert child.wait(60) == 0
        assert child.stderr is not None
        assert json.loads(child.stderr.read())["requests"] == 2


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")
def test_a_signal_ends_it_with_a_summary() -> None:
    """It says where to point a recorder at, and at the end what it did; status 0."""
    with process("--symbols", "2", "--speed", "60") as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(3)]
        assert "bmacdb run --feed usdt_perp_1m --rest-url http://127.0.0.1:" in lines[2]
        assert "--clock-rate 60" in lines[2]
        child.send_signal(signal.SIGINT)
        _, error = child.communicate(timeout=60)
        assert child.returncode == 0
        assert "closing frames: 0" in error
        assert "Traceback" not in error


@pytest.mark.parametrize("options", [(), ("--market", "spot"), ("--market", "coin_futures")])
def test_the_command_that_it_prints_works(options: tuple[str, ...], tmp_path: Path) -> None:
    """As it stands, with its clock's rate and a feed of a market that is served; it is only made to end."""
    with process("--symbols", "2", "--speed", "60", *options) as child:
        assert child.stdout is not None
        command = next(line for line in child.stdout if "bmacdb run" in line).split()
        assert command[:2] == ["bmacdb", "run"]
        shown = [sys.executable, "-m", "bmacdb.cli.main", *command[1:], "--num-candles", "20", "--periods", "1"]
        done = subprocess.run(shown, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert "all symbols ready" in done.stderr


def test_a_parent_that_is_killed_leaves_no_orphan() -> None:
    """Standard input closes when the parent dies, however it does."""
    script = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen({[*COMMAND, '--format', 'json', '--symbols', '1', '--die-with-parent']!r},"
        " stdin=subprocess.PIPE)\n"
        "child.wait()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert parent.stdout is not None
        assert b"rest_url" in parent.stdout.readline()
        parent.kill()
        # The pipe ends when the last process that holds it has ended: the child too.
        assert parent.stdout.read() == b""
    finally:
        parent.kill()
        parent.communicate()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--speed", "0"), "--speed 0 is not between"),
        (("--symbols", "0"), "--symbols 0 is not between"),
        (("--port", "70000"), "--port 70000 is not between"),
        (("--updates", "-1"), "--updates -1 is not between"),
        (("--market", "spt"), "Did you mean spot"),
        (("--format", "jsn"), "Did you mean json"),
        (("--fault", "losst:0.1"), "Did you mean lost"),
        (("--fault", "delisting,market=spot,symbol=NOPE"), "lists no 'NOPE'"),
        (("--replay", "nowhere"), "does not exist"),
        (("--start", "soon"), "--start 'soon' is no time"),
    ],
)
def test_wrong_usage_is_told(arguments: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the value, what was expected, and status 2."""
    from bmacdb.cli.main import main

    with pytest.raises(SystemExit) as caught:
        main(["simulate", *arguments])
    assert caught.value.code == 2
    assert complaint in capsys.readouterr().err


def test_a_port_in_use_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """With the port and the remedy, and status 1."""
    from bmacdb.cli.main import main

    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        with pytest.raises(SystemExit) as caught:
            main(["simulate", "--port", str(port), "--symbols", "1"])
    assert caught.value.code == 1
    told = capsys.readouterr().err
    assert f"port {port}" in told
    assert "--port 0" in told


def test_the_kinds_of_faults_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """`--fault help`: a line each."""
    from bmacdb.cli.main import main
    from bmacdb.simulated.faults import KINDS

    with pytest.raises(SystemExit) as caught:
        main(["simulate", "--fault", "help"])
    assert caught.value.code == 0
    listed = capsys.readouterr().out.splitlines()
    assert [entry.split()[0] for entry in listed] == list(KINDS)
