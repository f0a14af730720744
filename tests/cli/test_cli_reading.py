"""`bmacdb sql` and `bmacdb status`, run as a user runs them, with the real DuckDB shell where it is installed."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bmacdb.cli.shell import attach_lines, find_shell
from bmacdb.cli.status import render
from bmacdb.interval import Interval
from bmacdb.store import sidefile
from bmacdb.store.status import DEADLINE_MS, Watcher, is_late
from tests.reading.conftest import Served, served  # noqa: F401  # the fixture
from tests.reading.feeding import FIRST_MS, MINUTE_MS, period

BMACDB = [sys.executable, "-m", "bmacdb.cli.main"]


async def run(*command: str, stdin: str = "") -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate(stdin.encode())
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def shell() -> str:
    found = find_shell()
    if found is None:
        pytest.skip("the DuckDB shell is not installed")
    return found


async def test_sql_asks_the_live_recorder(served: Served) -> None:  # noqa: F811
    """A query as an argument or on stdin, in each format; what is refused is an error with a reason."""
    db = str(served.path)
    query = "SELECT symbol, close FROM latest_candles ORDER BY symbol"
    status, out, _ = await run(*BMACDB, "sql", query, "--db", db, "--format", "csv")
    assert status == 0
    assert out.splitlines()[0] == "symbol,close"
    assert len(out.splitlines()) == 4
    status, out, _ = await run(*BMACDB, "sql", "--db", db, "--format", "json", stdin=query)
    assert [row["symbol"] for row in json.loads(out)] == ["BTCUSDT", "ETHUSDT", "币安人生USDT"]
    status, out, err = await run(*BMACDB, "sql", "DROP TABLE usdt_perp_1m.candles", "--db", db)
    assert (status, out) == (1, "")
    assert "the recorder refuses this query" in err
    assert served.server.live.token not in err


async def test_status_and_sql_print_times_in_one_zone(served: Served) -> None:  # noqa: F811
    """That of --timezone, with its offset."""
    asked = ("--db", str(served.path), "--timezone", "Asia/Shanghai")
    _, out, _ = await run(*BMACDB, "status", *asked)
    assert out.count("+08:00") == 2
    assert "UTC" not in out
    _, out, _ = await run(*BMACDB, "sql", "SELECT max(run_time) AS newest FROM runs", *asked)
    assert out.splitlines()[1].endswith("+08:00")


async def test_sql_asks_the_file_at_rest(served: Served, tmp_path: Path) -> None:  # noqa: F811
    """The same without a recorder; a file that is not there is an error."""
    await served.server.close()
    await served.store.close()
    status, out, _ = await run(
        *BMACDB, "sql", "SELECT count(*) AS n FROM candles", "--db", str(served.path), "--format=csv"
    )
    assert (status, out) == (0, "n\n9\n")
    slow = "SELECT sum(hash(a.range + b.range)) FROM range(100000000) AS a, range(1000) AS b"
    status, out, err = await run(*BMACDB, "sql", slow, "--db", str(served.path), "--timeout", "0.5")
    assert (status, out) == (1, "")
    assert "longer than 0.5 s" in err
    status, _, err = await run(*BMACDB, "sql", "SELECT 1", "--db", str(tmp_path / "none.duckdb"))
    assert status == 1
    assert "does not exist" in err


async def test_the_duckdb_shell_attaches_by_hand(served: Served) -> None:  # noqa: F811
    """What docs/reading.md shows, typed into the real shell: attach, ask at the recorder, select from the catalog."""
    attach = f"ATTACH '{served.server.live.uri}' AS db (TOKEN '{served.server.live.token}');"
    # The user's shell finds the extensions by itself once they are installed; a test must not install anything.
    loads = "".join(line for line in attach_lines(served.server.live) if line.startswith("LOAD"))
    for asked, answer in (
        ("FROM db.query($$ SELECT count(*) AS n FROM usdt_perp_1m.candles $$);", "n\n9\n"),
        ("SELECT count(*) AS n FROM db.candles WHERE symbol = 'BTCUSDT';", "n\n3\n"),
        ("SELECT count(*) AS n FROM db.usdt_perp_1m.candles WHERE symbol = 'BTCUSDT';", "n\n3\n"),
        ("FROM db.query('SELECT feed FROM feeds');", "feed\nusdt_perp_1m\n"),
    ):
        status, out, err = await run(shell(), "-init", "/dev/null", "-csv", "-c", loads + attach + asked)
        assert (status, out) == (0, answer), err
    status, _, err = await run(shell(), "-init", "/dev/null", "-c", loads + attach + "DELETE FROM db.main.meta;")
    assert status != 0
    status, _, err = await run(
        shell(), "-init", "/dev/null", "-c", loads + attach + "FROM db.query('DELETE FROM meta');"
    )
    assert "Authorization failed" in err


async def test_status_of_a_live_recorder(served: Served) -> None:  # noqa: F811
    """Its periods are of 2023, so it is late, and says all it knows; JSON has the same."""
    await served.commit(period(FIRST_MS + 3 * MINUTE_MS, late=("ETHUSDT",)))
    sidefile.write(served.path, replace(served.server.live, started_ms=FIRST_MS))
    db = str(served.path)
    status, out, _ = await run(*BMACDB, "status", "--db", db)
    assert status == 1
    assert "late, process" in out
    assert "2/3 ready" in out
    assert "waits for  ETHUSDT" in out
    status, out, _ = await run(*BMACDB, "status", "--db", db, "--format", "json")
    assert status == 1
    told = json.loads(out)
    assert told["state"] == "late"
    assert told["uri"] == served.server.live.uri
    assert told["feeds"][0]["stragglers"] == ["ETHUSDT"]
    assert told["feeds"][0]["rows"] == 11
    assert told["feeds"][0]["seconds_p50"] == pytest.approx(0.04)
    assert served.server.live.token not in out


async def test_status_of_a_file_at_rest(served: Served) -> None:  # noqa: F811
    """Down, exit status 1, and what the file tells all the same."""
    await served.server.close()
    await served.store.close()
    status, out, _ = await run(*BMACDB, "status", "--db", str(served.path))
    assert status == 1
    assert "down" in out
    assert "3/3 ready" in out
    assert "9 rows" in out


async def test_a_recorder_that_is_on_time_is_healthy(served: Served) -> None:  # noqa: F811
    """When the newest complete run time is the present one, all is well."""
    from bmacdb.clock import SystemClock

    await served.commit(period(Interval.parse("1m").floor(SystemClock().now_ms())))
    with Watcher(served.path) as watcher:
        found = await asyncio.to_thread(watcher.look)
    assert found.healthy
    assert found.version is not None
    assert "recording, process" in render(found)


def test_late_is_an_interval_and_the_deadline() -> None:
    """A run time is late 45 seconds after the boundary behind it, not a millisecond before."""
    minute = Interval.parse("1m")
    complete = 60 * MINUTE_MS
    assert not is_late(minute, complete, complete + MINUTE_MS + DEADLINE_MS)
    assert is_late(minute, complete, complete + MINUTE_MS + DEADLINE_MS + 1)
    assert is_late(minute, None, 0)
    started = complete + 10 * MINUTE_MS + 1  # a recorder that has just started has a boundary of its own before it
    assert not is_late(minute, complete, started, started)
    assert not is_late(minute, None, started + MINUTE_MS + DEADLINE_MS - 1, started)
    assert is_late(minute, complete, started + MINUTE_MS + DEADLINE_MS, started)


async def test_wrong_usage_is_told(tmp_path: Path) -> None:
    """An unknown format is a mistake of usage, exit status 2."""
    status, _, err = await run(*BMACDB, "status", "--format", "jsn", "--db", str(tmp_path / "a"))
    assert status == 2
    assert "Did you mean json?" in err


@pytest.mark.parametrize("format", ["json", "table"])
async def test_status_looks_again_and_again(served: Served, format: str) -> None:  # noqa: F811
    """--watch tells anew until it is stopped."""
    process = await asyncio.create_subprocess_exec(
        *BMACDB, "status", "--watch", "--db", str(served.path), "--format", format, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    heard = 0
    while heard < 2:
        line = (await process.stdout.readline()).decode()
        assert line, "it has ended"
        heard += '"state"' in line or ", process " in line
    process.terminate()
    await process.wait()
