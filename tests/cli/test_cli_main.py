"""The command line as a user meets it: help, errors, exit statuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bmacdb import __version__
from bmacdb.cli.main import main


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str, str]:
    """Exit status, stdout and stderr of one command."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    out, err = capsys.readouterr()
    return caught.value.code or 0, out, err


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Both go to stdout with status 0."""
    assert call(capsys, "--version") == (0, f"bmacdb {__version__}\n", "")
    status, out, err = call(capsys, "run", "--help")
    assert (status, err) == (0, "")
    for option in ("--interval", "--trade-type", "--feed", "--num-candles", "--keep", "--rest-url", "--simulate"):
        assert option in out
    assert "--clock-rate" not in out


def test_wrong_usage_is_status_2_with_the_nearest(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Unknown commands and options, wrong values and contradictions: said on stderr, nothing on stdout."""
    home = str(tmp_path)
    for arguments, told in (
        (["rnu"], "'run'"),
        (["run", "--intervall", "1m"], "--interval"),
        (["run", home, "--interval", "1m", "--trade-type", "usdt_deali"], "Did you mean usdt_deli?"),
        (["run", home, "--interval", "1s", "--trade-type", "usdt_perp"], "spot alone"),
        (["run", home, "--feed", "usdt_perp_1m", "--num-candles", "10001"], "nearest is 10000"),
        (["run", home], "nothing to record"),
        (["run", str(tmp_path / "none")], "does not exist"),
        (["run", home, "--feed", "usdt_perp_1m", "--speed", "5"], "--simulate"),
        (["run", home, "--feed", "usdt_perp_1m", "--simulate", "--rest-url", "http://h:1"], "leave out --rest-url"),
    ):
        status, out, err = call(capsys, *arguments)
        assert (status, out) == (2, ""), arguments
        assert told.replace("does not exist", "create it first") in err
        assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        env=os.environ | environment,
        timeout=100,
        check=False,
    )


def test_as_a_process(tmp_path: Path) -> None:
    """Help imports nothing heavy; odd consoles and closed pipes make no traceback. (One test: starts are slow.)"""
    (tmp_path / "config.json").write_text('{"interval": "1m", "trade_type": "币安"}', encoding="utf-8")
    light = """
import sys
from bmacdb.cli.main import main
try:
    main(["run", "--help"])
except SystemExit:
    heavy = {"pandas", "duckdb", "aiohttp", "pyarrow", "numpy", "polars", "zmq", "websockets", "rich"}
    print(sorted(heavy & set(sys.modules)), file=sys.stderr)
"""
    odd = """
import sys
import pyarrow as pa
from bmacdb.cli.output import emit
emit(pa.table({"symbol": ["\\u5e01\\u5b89\\u4eba\\u751fUSDT"]}), sys.argv[1])
"""
    closed = "import sys; from bmacdb.cli.main import main; sys.stdout.close; main(['run', '--help'])"
    command = ("-m", "bmacdb.cli.main", "run", str(tmp_path))
    with ThreadPoolExecutor(2) as pool:
        imports = pool.submit(python, "-c", light)
        consoles = {name: pool.submit(python, *command, PYTHONIOENCODING=name) for name in ("cp1252", "ascii")}
        tables = {
            format: pool.submit(python, "-c", odd, format, PYTHONIOENCODING="ascii") for format in ("table", "json")
        }
        pipe = pool.submit(_into_closed_pipe, "-c", closed)
    assert imports.result().stderr.decode().strip() == "[]"
    for done in consoles.values():
        assert done.result().returncode == 2
        assert b"Traceback" not in done.result().stderr
        assert b"usdt_deli" in done.result().stderr
    assert b"\\u5e01" in tables["table"].result().stdout
    assert json.loads(tables["json"].result().stdout) == [{"symbol": "币安人生USDT"}]
    assert b"Traceback" not in pipe.result()
    assert b"Exception ignored" not in pipe.result()


def _into_closed_pipe(*arguments: str) -> bytes:
    """What a command says when the reader of its output is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, *arguments], stdout=writer, stderr=subprocess.PIPE, timeout=100, check=False
        )
    finally:
        os.close(writer)
    return done.stderr
