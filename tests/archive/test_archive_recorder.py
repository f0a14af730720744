"""History beside a recorder that runs, as two users of one file: processes of their own, real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from bmacdb.clock import from_ms
from bmacdb.interval import DAY_MS
from bmacdb.simulated import SimulatedExchange
from tests.acceptance.support import Recorder, agrees, query

SPEED = 20.0


async def bmacdb(exchange: SimulatedExchange, database: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of `bmacdb history …`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bmacdb.cli.main", "history", *arguments, "--db", str(database)),
        env={
            **os.environ,
            "BMACDB_ARCHIVE_URL": exchange.archive_url,
            "BMACDB_REST_URL": exchange.rest_url,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


@pytest.mark.timeout(300)  # eight processes, one after another
@pytest.mark.skipif(sys.platform == "win32", reason="stops the recorder by a signal")
async def test_history_goes_into_a_file_that_is_being_recorded(tmp_path: Path) -> None:
    """Import, holes, repair, agreement and splits while the recorder runs, which misses nothing; no bar is there twice,
    and every one is as the exchange made it."""
    feed, symbols = "usdt_perp_5m", "BTCUSDT,ETHUSDT"
    async with (
        SimulatedExchange(symbols=6, speed=SPEED) as exchange,
        Recorder(exchange, tmp_path, ["--feed", feed, "--num-candles", "30", "--funding-rate"]) as recorder,
    ):
        database = recorder.database
        await recorder.until("run_started")
        mine = ("--feed", feed, "--symbols", symbols)
        until = f"{from_ms(exchange.start_ms):%Y-%m-%d}"  # bars of today may be late on a busy machine
        since = f"{from_ms(exchange.start_ms - 35 * DAY_MS):%Y-%m-%d}"
        status, out, err = await bmacdb(exchange, database, "download", *mine, "--start", since)
        assert status == 0, err
        for _ in range(2):
            status, out, err = await bmacdb(exchange, database, "import", "--feed", feed)
            assert status == 0, err
            assert "sent to the recorder" in out, out
        status, out, err = await bmacdb(exchange, database, "fill", *mine, "--start", since)
        assert status == 0, err
        assert " 0 are open" in out, out
        status, out, err = await bmacdb(
            exchange, database, "gaps", *mine, "--start", since, "--end", until, "--format", "json"
        )
        assert (status, [hole for hole in json.loads(out) if hole["kind"] == "hole"]) == (0, []), err
        status, out, err = await bmacdb(exchange, database, "verify", *mine, "--format", "json")
        assert (status, json.loads(out)) == (0, []), err
        status, out, err = await bmacdb(exchange, database, "split", *mine, "--format", "json")
        assert (status, [row["name"] for row in json.loads(out)]) == (0, symbols.split(",")), err
        await recorder.until("run_complete", 2)
        await recorder.until_whole()
        await recorder.stop(signal.SIGTERM)
        assert agrees(exchange, database, feed, num_candles=30) > 2 * 33 * 288
        sources = dict(query(database, f"SELECT source, count(*) FROM {feed}.candles GROUP BY 1"))
        assert {"archive", "rest", "ws"} <= set(sources)
        fundings = query(database, f"SELECT symbol, epoch_ms(funding_time) // 600000 FROM {feed}.funding_rates")
        assert len(fundings) == len(set(fundings)) > 2 * 3 * 15
        assert query(database, f"SELECT count(*) FROM {feed}.corrections") == [(0,)]
