"""The server: two on one machine, one that ends, one that cannot start."""

from __future__ import annotations

import asyncio
import logging
import socket
from pathlib import Path
from time import monotonic

import duckdb
import pytest

from bmacdb.clock import SystemClock
from bmacdb.errors import StoreError
from bmacdb.store import extensions, sidefile
from bmacdb.store.reader import connect
from bmacdb.store.serve import Server, ServingUnavailable
from bmacdb.store.writer import Store
from tests.reading.conftest import Served
from tests.reading.feeding import FEED, FIRST_MS, MINUTE_MS, period


async def test_two_recorders_have_ports_of_their_own(served: Served, tmp_path: Path) -> None:
    """The second recorder on a machine takes other ports, and each reader reaches its own."""
    store = await Store.open(tmp_path / "other.duckdb", clock=SystemClock())
    await store.add_feed(FEED, num_candles=10)
    server = await Server.start(store, clock=SystemClock(), info=dict, first_port=served.server.live.port)
    try:
        ports = {served.server.live.port, served.server.live.events_port, server.live.port, server.live.events_port}
        assert len(ports) == 4
        async with connect(served.path) as one, connect(store.path) as other:
            assert (await asyncio.to_thread(one.sql, "SELECT count(*) FROM candles")).rows() == [(9,)]
            assert (await asyncio.to_thread(other.sql, "SELECT count(*) FROM candles")).rows() == [(0,)]
    finally:
        await server.close()
        await store.close()


async def test_only_loopback_listens(served: Served) -> None:
    """Neither port can be reached by another address of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent
            address = probe.getsockname()[0]
        except OSError:
            pytest.skip("this machine has no other address")
    if address.startswith("127."):
        pytest.skip("this machine has no other address")
    for port in (served.server.live.port, served.server.live.events_port):
        with socket.socket() as knock:
            knock.settimeout(5)
            assert knock.connect_ex(("127.0.0.1", port)) == 0
        with socket.socket() as knock:
            knock.settimeout(1)
            assert knock.connect_ex((address, port)) != 0


async def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """After the end: no side file, nothing of the guard in the file, and nobody listens any more."""
    store = await Store.open(tmp_path / "bmac.duckdb", clock=SystemClock())
    await store.add_feed(FEED, num_candles=10)
    server = await Server.start(store, clock=SystemClock(), info=dict, first_port=29_720)
    live = server.live
    await server.close()
    await server.close()
    server.announce(period(FIRST_MS))
    await store.close()
    assert sidefile.read(store.path) is None
    with duckdb.connect(store.path, read_only=True) as connection:
        rows = connection.execute("SELECT count(*) FROM duckdb_functions() WHERE NOT internal").fetchall()
        assert rows == [(0,)]
    for port in (live.port, live.events_port):
        until = monotonic() + 30
        while _listens(port):
            assert monotonic() < until
            await asyncio.sleep(0.01)


def _listens(port: int) -> bool:
    with socket.socket() as knock:
        return knock.connect_ex(("127.0.0.1", port)) == 0


async def test_a_missing_extension_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Quack the server says what to install, and the store goes on writing."""
    monkeypatch.setattr(extensions, "extension_file", lambda name: tmp_path / f"{name}.duckdb_extension")
    store = await Store.open(tmp_path / "bmac.duckdb", clock=SystemClock())
    await store.add_feed(FEED, num_candles=10)
    try:
        with pytest.raises(ServingUnavailable, match=r"pip install .*duckdb-extension-quack==1\.5\.5"):
            await Server.start(store, clock=SystemClock(), info=dict)
        await store.commit(period(FIRST_MS))
        assert await store.latest(FEED) == dict.fromkeys(("BTCUSDT", "ETHUSDT", "币安人生USDT"), FIRST_MS - MINUTE_MS)
    finally:
        await store.close()
    assert sidefile.read(store.path) is None


async def test_the_token_is_in_no_log_and_no_message(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    """The token stands in the side file alone."""
    caplog.set_level(logging.DEBUG)
    token = served.server.live.token
    assert token not in repr(served.server)
    assert token not in repr(served.server.live)
    async with connect(served.path) as reader:
        await asyncio.to_thread(reader.sql, "SELECT 1")
        assert token not in repr(reader)
        rows = await asyncio.to_thread(reader.sql, "SELECT list(sql) FROM duckdb_tables()")
        assert token not in str(rows.rows())
    assert token not in caplog.text


async def test_a_database_that_was_reopened_is_served_again(served: Served) -> None:
    """After a fault that kills the instance while readers are connected, the store reopens it in place, and they find
    the server again."""

    def kill(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute("SET GLOBAL debug_checkpoint_abort = 'before_truncate'")
        connection.execute("CHECKPOINT")

    async with connect(served.path) as reader:
        assert (await asyncio.to_thread(reader.sql, "SELECT count(*) FROM candles")).rows() == [(9,)]
        with pytest.raises(StoreError):
            await served.store.run(kill)
        await served.commit(period(FIRST_MS + 3 * MINUTE_MS))
        assert (await asyncio.to_thread(reader.sql, "SELECT count(*) FROM candles")).rows() == [(12,)]
        assert reader.live


async def test_answers_are_small_so_that_little_memory_stays(served: Served) -> None:
    """Quack's threads keep their largest answers, so an answer has two chunks at most, whatever Quack's default."""
    rows = await served.store.run(
        lambda connection: connection.execute("SELECT current_setting('quack_fetch_batch_chunks')").fetchall()
    )
    assert rows == [(2,)]
