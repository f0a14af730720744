"""Files kept up to date while recording, beside the commits and never in their way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa

from bmacdb.clock import ManualClock, SystemClock, from_ms
from bmacdb.export.bmac import BmacExport
from bmacdb.export.flat import FlatExport
from bmacdb.export.names import BmacNames
from bmacdb.model import Batch, Ready
from bmacdb.recorder.events import Event, Notice
from bmacdb.recorder.export import LiveExport
from bmacdb.store.reader import connect
from bmacdb.store.serve import Server
from bmacdb.store.writer import Store

from .support import FEED, RUN_MS, STEP_MS, SYMBOLS, candle, info, period, recorded


def live(store: Store, root: Path, events: list[Event]) -> LiveExport:
    export = LiveExport(
        store,
        [FEED],
        root,
        save_type="parquet",
        num_candles=30,
        clock=ManualClock(RUN_MS),
        report=events.append,
        call=asyncio.get_running_loop().call_soon_threadsafe,
    )
    export.start()
    return export


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def test_every_run_time_renews_the_files_of_those_that_are_ready(tmp_path: Path) -> None:
    store = await recorded(tmp_path / "bmac.duckdb")
    events: list[Event] = []
    root = tmp_path / "out"
    export = live(store, root, events)
    for place in (1, 2):
        batch = period(RUN_MS + place * STEP_MS)
        await store.commit(batch)
        export.committed(batch)
    await asyncio.to_thread(export.stop)
    folder = root / "usdt_perp_5m"
    assert sorted(path.name for path in folder.glob("*.ready")) == sorted(
        f"{symbol}_20240803_161500.ready" for symbol in SYMBOLS
    )
    for symbol in SYMBOLS:
        frame = pd.read_parquet(folder / f"{symbol}.pqt")
        assert frame.index[-1] == from_ms(RUN_MS + 2 * STEP_MS)
        assert len(frame) == 30
    assert (root / "exginfo_5m" / "funding_20240803_161500.ready").exists()
    assert events == []
    await store.close()


async def test_files_are_there_as_soon_as_history_is(tmp_path: Path) -> None:
    """Before the first run: of every symbol that has the newest bar, with ready files of the run time that is past."""
    store = await recorded(tmp_path / "bmac.duckdb")
    old = Batch(FEED.name, RUN_MS, tuple(candle("LATEUSDT", RUN_MS - place * STEP_MS) for place in (2, 3)))
    await store.commit(old)
    root = tmp_path / "out"
    export = live(store, root, [])
    export.committed(old)
    export.filled(FEED.name)
    ready = root / "usdt_perp_5m" / f"{SYMBOLS[-1]}_20240803_160500.ready"
    await until(ready.exists)
    await asyncio.to_thread(export.stop)
    assert sorted(path.name for path in root.glob("*/*.ready")) == sorted(
        f"{item}_20240803_160500.ready" for item in (*SYMBOLS, "exginfo", "funding")
    )
    assert pd.read_parquet(root / "usdt_perp_5m" / "BTCUSDT.pqt").index[-1] == from_ms(RUN_MS)
    await store.close()


async def test_exchange_info_is_as_the_exchange_told_it(tmp_path: Path) -> None:
    """Its order, and its digits: not sorted, and not what a database makes of 0.10."""
    store = await recorded(tmp_path / "bmac.duckdb")
    root = tmp_path / "out"
    export = live(store, root, [])
    rules = (
        info("ZUSDT", tick="0.10", lot="1"),
        info("GONEUSDT", status="SETTLING", tick="0.0001"),
        info("BTCUSDT", tick="0.10", lot="0.100"),
    )
    batch = replace(period(RUN_MS + STEP_MS), exginfo=rules)
    await store.commit(batch)
    export.committed(batch)
    await asyncio.to_thread(export.stop)
    frame = pd.read_parquet(root / "exginfo_5m" / "exginfo.pqt")
    assert frame["symbol"].to_list() == ["ZUSDT", "BTCUSDT"]
    assert [str(value) for value in frame["price_tick"]] == ["0.10", "0.10"]
    assert [str(value) for value in frame["lot_size"]] == ["1.000", "0.100"]
    await store.close()


async def test_a_symbol_that_is_ready_does_not_wait_for_the_others(tmp_path: Path) -> None:
    """Before the market is complete, its file and ready file are there."""
    store = await recorded(tmp_path / "bmac.duckdb")
    export = live(store, tmp_path / "out", [])
    run_time_ms = RUN_MS + STEP_MS
    batch = Batch(
        FEED.name,
        run_time_ms,
        (candle("BTCUSDT", RUN_MS),),
        (Ready(run_time_ms, "BTCUSDT", run_time_ms, "ws"),),
    )
    await store.commit(batch)
    export.committed(batch)
    ready = tmp_path / "out" / "usdt_perp_5m" / "BTCUSDT_20240803_161000.ready"
    await until(ready.exists)
    assert pd.read_parquet(tmp_path / "out" / "usdt_perp_5m" / "BTCUSDT.pqt").index[-1] == from_ms(run_time_ms)
    assert not (tmp_path / "out" / "usdt_perp_5m" / "ETHUSDT.pqt").exists()
    await asyncio.to_thread(export.stop)
    await store.close()


async def test_a_disk_that_refuses_is_told_once_and_tried_again(tmp_path: Path) -> None:
    """The recording goes on; when there is room, the next run time's files are written."""
    store = await recorded(tmp_path / "bmac.duckdb")
    events: list[Event] = []
    root = tmp_path / "out"
    root.write_text("a file in the way")
    export = live(store, root, events)
    for place in (1, 2):
        batch = period(RUN_MS + place * STEP_MS)
        await store.commit(batch)
        export.committed(batch)
        await until(lambda: bool(events))
    (notice,) = events
    assert isinstance(notice, Notice)
    assert "cannot be written" in notice.text
    root.unlink()
    batch = period(RUN_MS + 3 * STEP_MS)
    await store.commit(batch)
    export.committed(batch)
    await asyncio.to_thread(export.stop)
    assert len(list((root / "usdt_perp_5m").glob("*_20240803_162000.ready"))) == 3
    await store.close()


async def test_commits_do_not_wait_for_files(tmp_path: Path) -> None:
    """While the export is stuck in a query of its own, the Store goes on committing."""
    store = await recorded(tmp_path / "bmac.duckdb")
    stuck, free = threading.Event(), threading.Event()

    class Stuck:
        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

        def cursor(self) -> duckdb.DuckDBPyConnection:
            stuck.set()
            assert free.wait(30)
            return store.cursor()

    export = live(Stuck(), tmp_path / "out", [])  # type: ignore[arg-type]
    first = period(RUN_MS + STEP_MS)
    await store.commit(first)
    export.committed(first)
    await asyncio.to_thread(stuck.wait, 30)
    for place in range(2, 6):
        batch = period(RUN_MS + place * STEP_MS)
        await store.commit(batch)
        export.committed(batch)
    free.set()
    await asyncio.to_thread(export.stop)
    assert len(list((tmp_path / "out" / "usdt_perp_5m").glob("*_20240803_163000.ready"))) == 3
    await store.close()


async def test_the_export_survives_a_database_that_was_reopened(tmp_path: Path) -> None:
    """Its cursor is dead then: the run time at hand is told and the next one is written with a new one."""
    store = await recorded(tmp_path / "bmac.duckdb")
    events: list[Event] = []
    export = live(store, tmp_path / "out", events)
    batch = period(RUN_MS + STEP_MS)
    await store.commit(batch)
    export.committed(batch)
    await until(lambda: export.written == 3)
    await store.run(lambda _: store._reopen())
    for place in (2, 3):
        batch = period(RUN_MS + place * STEP_MS)
        await store.commit(batch)
        export.committed(batch)
        await until(lambda: export.written >= 6 or bool(events))
    await asyncio.to_thread(export.stop)
    assert len(list((tmp_path / "out" / "usdt_perp_5m").glob("*_20240803_162000.ready"))) == 3
    await store.close()


async def test_files_are_made_of_a_live_recorders_database_as_of_one_at_rest(tmp_path: Path) -> None:
    """Every query of the export passes the recorder's guard."""
    store = await recorded(tmp_path / "bmac.duckdb")
    await store.commit(Batch(FEED.name, RUN_MS, tuple(candle("HOLEUSDT", RUN_MS - n * STEP_MS) for n in (1, 2, 40))))
    server = await Server.start(store, clock=SystemClock(), info=dict)

    def work() -> None:
        with connect(store.path) as reader:
            assert reader.live

            def ask(query: str, params: Mapping[str, object]) -> pa.Table:
                return reader.sql(query, dict(params) or None).arrow()

            names = BmacNames(tmp_path / "out", FEED)
            export = BmacExport(ask, names, num_candles=30, clock=ManualClock(RUN_MS))
            assert export.export(export.newest_run_time_ms()) == 4
            flat = FlatExport(
                ask, reader.feed_name(FEED.name, derived=True), symbols=SYMBOLS, start_ms=RUN_MS - STEP_MS
            )
            assert flat.to_folder(tmp_path / "per", "csv") == dict.fromkeys(sorted(SYMBOLS), 1)

    await asyncio.to_thread(work)
    assert len(pd.read_parquet(tmp_path / "out" / "usdt_perp_5m" / "HOLEUSDT.pqt")) == 3
    await server.close()
    await store.close()
