"""One reader, whether a recorder is alive or not."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars
import pyarrow as pa
import pytest

import bmacdb
from bmacdb.clock import SystemClock, from_ms
from bmacdb.errors import FileHeld, NothingToRead, QueryFailed, QueryRefused, QueryTooSlow, UsageError
from bmacdb.store import sidefile
from bmacdb.store.reader import Reader, connect
from bmacdb.store.serve import Server
from bmacdb.store.writer import Store
from tests.reading.conftest import Served
from tests.reading.feeding import FEED, FIRST_MS, MINUTE_MS, SYMBOLS, period


def test_the_package_is_light_and_has_connect() -> None:
    """`import bmacdb` loads neither DuckDB nor Arrow; `bmacdb.connect` is there all the same."""
    code = "import bmacdb, sys; assert not {'duckdb', 'pyarrow', 'pandas', 'zmq'} & set(sys.modules); bmacdb.connect"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert bmacdb.connect is connect


def everything(reader: Reader) -> list[object]:
    """What a reader can tell, to hold one way against the other."""
    return [
        reader.feeds().rows(),
        reader.candles("BTCUSDT").rows(),
        reader.candles("BTCUSDT", limit=2).rows(),
        reader.candles("币安人生USDT", start=FIRST_MS, end=from_ms(FIRST_MS + MINUTE_MS)).rows(),
        reader.candles("BTCUSDT", start="2030-01-01").rows(),
        reader.run_status(FIRST_MS).rows(),
        reader.run_status(from_ms(FIRST_MS).isoformat(), feed=FEED.name).rows(),
        reader.sql("SELECT ?::VARCHAR AS text, $$ ? $$, to_timestamp(0)", ["it's; -- ?"]).rows(),
        reader.sql(
            "SELECT symbol, count(*) FROM candles WHERE symbol IN $names GROUP BY ALL ORDER BY ALL",
            {"names": ["BTCUSDT", "'); DROP TABLE candles; --"]},
        ).rows(),
        reader.sql("FROM usdt_perp_1m.runs ORDER BY run_time").arrow().schema,
        reader.sql("SELECT [1, 2], {'a': 1}, 1.5::DECIMAL(10, 2), NULL, DATE '2024-01-01', INTERVAL 1 DAY").rows(),
        reader.sql("FROM coverage ORDER BY ALL").rows(),
    ]


async def test_live_and_at_rest_are_the_same(served: Served) -> None:
    """The same reader gives the same answers from the recorder and, when that has ended, from the file."""
    with connect(served.path) as reader:
        assert reader.live
        live = await asyncio.to_thread(everything, reader)
        assert "live at quack" in repr(reader)
        await served.server.close()
        await served.store.close()
        assert not reader.live
        assert await asyncio.to_thread(everything, reader) == live
        assert "at rest" in repr(reader)
    assert live[1] == sorted(live[1])  # type: ignore[call-overload]
    assert len(live[1]) == 3  # type: ignore[arg-type]
    assert live[4] == []


async def test_a_reader_at_rest_keeps_no_recorder_away(served: Served) -> None:
    """A reader that has read the file lets go of it: a recorder starts, and the reader goes to it by itself."""
    reader = connect(served.path)
    await served.server.close()
    await served.store.close()
    assert len(await asyncio.to_thread(reader.candles, "BTCUSDT")) == 3
    store = await Store.open(served.path, clock=SystemClock())
    server = await Server.start(store, clock=SystemClock(), info=dict)
    try:
        await store.commit(period(FIRST_MS + 3 * MINUTE_MS))
        assert len(await asyncio.to_thread(reader.candles, "BTCUSDT")) == 4
    finally:
        await asyncio.to_thread(reader.close)
        await server.close()
        await store.close()


async def test_frames_of_every_kind(served: Served) -> None:
    """Arrow, pandas, polars, rows; times are in UTC."""
    async with connect(served.path) as reader:
        result = await asyncio.to_thread(reader.candles, "BTCUSDT")
    table = result.arrow()
    assert table.schema.field("open_time").type == pa.timestamp("us", tz="UTC")
    assert pa.table(result).equals(table)
    assert str(result.df()["open_time"].dtype) == "datetime64[us, UTC]"
    assert result.pl().equals(polars.from_arrow(table))
    assert result.columns[:3] == ["symbol", "open_time", "open"]
    assert len(result) == 3
    assert result.one() == result.rows()[0]
    assert result.rows()[0][1] == datetime.fromtimestamp((FIRST_MS - MINUTE_MS) / 1000, UTC)
    assert repr(result).startswith("<Result 3 rows: symbol")


SLOW = "SELECT sum(hash(a.range + b.range)) FROM range(100000000) AS a, range({}) AS b"


@pytest.mark.parametrize("live", [True, False], ids=["live", "at rest"])
async def test_waiting_for_an_answer_can_be_bounded(served: Served, live: bool) -> None:
    """A query that takes longer than its asker has is an error that says so, and the reader goes on."""
    if not live:
        await served.server.close()
        await served.store.close()
    with connect(served.path) as reader:

        def ask() -> None:
            with pytest.raises(QueryTooSlow, match=r"longer than 0.2 s.*(still works on it)?"):
                reader.sql(SLOW.format(1 if live else 1000), timeout=0.2)
            assert reader.sql("SELECT count(*) FROM candles", timeout=60).one() == (9,)
            with pytest.raises(UsageError, match="timeout 0 is not above 0"):
                reader.sql("SELECT 1", timeout=0)

        await asyncio.to_thread(ask)


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send itself Ctrl-C there")
@pytest.mark.parametrize("live", [True, False], ids=["live", "at rest"])
def test_ctrl_c_ends_the_waiting_and_not_the_reader(
    start_recorder: Callable[[], subprocess.Popen[str]], tmp_path: Path, live: bool
) -> None:
    """Whoever asked too much can press Ctrl-C, and ask again."""
    recorder = start_recorder()
    if not live:
        recorder.communicate()
    with connect(tmp_path / "bmac.duckdb") as reader:
        rows = reader.sql("SELECT count(*) FROM candles").one()
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a program of its own
        pressed = threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT))
        pressed.start()
        try:
            with pytest.raises(KeyboardInterrupt):
                reader.sql(SLOW.format(1000), timeout=3600)
        finally:
            pressed.join()
            signal.signal(signal.SIGINT, before)
        assert reader.sql("SELECT count(*) FROM candles").one() >= rows
        recorder.kill()


async def test_errors_say_what_is_wrong(served: Served, tmp_path: Path) -> None:
    """Refused, mistaken, unknown and missing are told apart, and none of them spoils the reader."""
    with connect(served.path) as reader:

        def ask() -> None:
            with pytest.raises(QueryRefused, match="Only read queries run here"):
                reader.sql("DROP TABLE usdt_perp_1m.candles")
            with pytest.raises(QueryRefused, match="function read_csv"):
                reader.sql("FROM read_csv('a.csv')")
            with pytest.raises(QueryRefused, match="no table or schema nothing"):
                reader.sql("FROM nothing")
            with pytest.raises(QueryFailed, match="nope"):
                reader.sql("SELECT nope FROM candles")
            with pytest.raises(UsageError, match="Did you mean usdt_perp_1m"):
                reader.candles("BTCUSDT", feed="usdt_perp_1n")
            with pytest.raises(UsageError, match="ISO"):
                reader.run_status("yesterday")
            assert reader.sql("SELECT 1").rows() == [(1,)]

        await asyncio.to_thread(ask)
    with pytest.raises(UsageError, match="closed"):
        reader.sql("SELECT 1")
    with connect(tmp_path / "none.duckdb") as reader, pytest.raises(NothingToRead, match="bmacdb run"):
        reader.sql("SELECT 1")


async def test_an_unknown_symbol_is_an_error(served: Served) -> None:
    """Of a symbol that the feed never had the nearest name is told; of one that it has, no rows are an answer."""
    with connect(served.path) as reader:

        def look() -> None:
            with pytest.raises(UsageError, match=r"usdt_perp_1m has no symbol BTCUSD \(did you mean BTCUSDT"):
                reader.candles("BTCUSD")
            assert len(reader.candles("BTCUSDT", start="2030-01-01")) == 0

        await asyncio.to_thread(look)


async def test_two_feeds_must_be_told_apart(served: Served) -> None:
    """With one feed its name may be left out, with two it may not; a feed added while serving can be read at once."""
    from bmacdb.symbols import make_feed

    other = await served.store.add_feed(make_feed("usdt_perp", "5m"), num_candles=10)
    await served.commit(type(period(FIRST_MS))(feed=other.name, recorded_at_ms=FIRST_MS))
    with connect(served.path) as reader:

        def ask() -> None:
            with pytest.raises(UsageError, match="2 feeds"):
                reader.candles("BTCUSDT")
            assert reader.candles("BTCUSDT", feed=other.name).rows() == []
            assert len(reader.candles("BTCUSDT", feed=FEED.name)) == 3

        await asyncio.to_thread(ask)


def test_a_killed_recorder_and_the_next(start_recorder: Callable[[], subprocess.Popen[str]], tmp_path: Path) -> None:
    """When a recorder is killed its readers go to the file, and when it is back, to the recorder again."""
    first = start_recorder()
    with connect(tmp_path / "bmac.duckdb") as reader:
        count = int(str(reader.sql("SELECT count(*) FROM candles").rows()[0][0]))
        assert reader.live
        first.kill()
        first.wait()
        assert sidefile.side_path(tmp_path / "bmac.duckdb").exists()
        after = int(str(reader.sql("SELECT count(*) FROM candles").rows()[0][0]))
        assert after >= count
        assert not reader.live
        start_recorder()
        assert len(reader.candles(SYMBOLS[0])) * 3 >= after
        assert reader.live
        assert "live at" in repr(reader)


def test_a_file_that_is_held_and_not_served(tmp_path: Path) -> None:
    """A writer that does not serve is told by its process."""
    code = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1]); c.execute('CREATE TABLE a (i INT)'); "
        "print('open', flush=True); sys.stdin.readline()"
    )
    path = tmp_path / "bmac.duckdb"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        reader = Reader(path, clock=SystemClock(), patience=0.2)
        with pytest.raises(FileHeld, match=f"process {holder.pid}"):
            reader.sql("SELECT 1")
        holder.communicate("\n")
