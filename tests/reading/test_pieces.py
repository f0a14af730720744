# ruff: noqa: E501  # statements
"""Heavy reads of the program's own commands, on a live recorder whose memory is too small for them in one piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bmacdb.archive.recorded import recorded_segments
from bmacdb.cli.export import export
from bmacdb.cli.resample import resample
from bmacdb.clock import SystemClock
from bmacdb.errors import QueryTooLarge
from bmacdb.offset import Resampling
from bmacdb.store import pieces
from bmacdb.store.pieces import patiently, symbol_pieces
from bmacdb.store.reader import connect
from bmacdb.store.resample import bars_query
from bmacdb.store.serve import Server
from bmacdb.store.writer import Store
from tests.reading.feeding import FEED, FIRST_MS, MINUTE_MS

BARS, SYMBOLS = 20_000, 12
FILL = f"""
INSERT INTO usdt_perp_1m.candles
SELECT 'S' || symbol || 'USDT', make_timestamptz(1000 * ({FIRST_MS} + bar * {MINUTE_MS})), p, p + 1, p - 1, p + 0.5, 10, 1000, 5, 4,
       400, 'rest', make_timestamptz(0)
FROM (SELECT bar, symbol, 100 + (bar * 7 + symbol * 13) % 101 AS p
      FROM range({BARS}) AS bars(bar), range({SYMBOLS}) AS symbols(symbol) WHERE bar % 5003 <> 17 ORDER BY bar, symbol)
"""


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[Path]:
    """A database of 240 thousand candles, served by a recorder with 30 MB for DuckDB."""
    path = tmp_path / "bmac.duckdb"
    store = await Store.open(path, clock=SystemClock(), memory_limit="200MB")
    await store.add_feed(FEED, num_candles=10_000)
    await store.run(lambda connection: connection.execute(FILL))
    await store.close()
    store = await Store.open(path, clock=SystemClock(), memory_limit="30MB")
    await store.add_feed(FEED, num_candles=10_000)
    server = await Server.start(store, clock=SystemClock(), info=dict)
    yield path
    await server.close()
    await store.close()


async def test_resample_export_and_gaps_stay_within_the_recorders_memory(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails as one query is answered in pieces, with the same rows."""
    monkeypatch.setattr(pieces, "PIECE_ROWS", 20_000)  # as 50 000 are to 64 MB, or less
    monkeypatch.setattr("bmacdb.export.flat._PIECE_ROWS", 20_000)
    resampling = Resampling.of(FEED, "1h")
    query, params = bars_query(resampling, FIRST_MS, FIRST_MS + BARS * MINUTE_MS)

    def read() -> None:
        with connect(small) as reader:
            with pytest.raises(QueryTooLarge, match="bound it by time"):
                reader.sql(f"FROM ({query}) ORDER BY symbol, open_time", params)
            segments = recorded_segments(reader, FEED)
        assert {symbol: len(found) for symbol, found in segments.items()} == {f"S{i}USDT": 5 for i in range(SYMBOLS)}
        resample(to="1h", feed=FEED.name, db=small, format="parquet", output=tmp_path / "bars.parquet")
        export(tmp_path / "candles.parquet", db=small)

    await asyncio.to_thread(read)
    made, exported = pq.read_table(tmp_path / "bars.parquet"), pq.read_table(tmp_path / "candles.parquet")
    alone = duckdb.connect()
    alone.execute("SET TimeZone = 'UTC'; CREATE SCHEMA usdt_perp_1m")
    alone.register("exported", exported)
    alone.execute("CREATE TABLE usdt_perp_1m.candles AS FROM exported")
    expected = alone.execute(
        "SELECT symbol, open_time, first(open) OVER hour AS open, max(high) OVER hour AS high, min(low) OVER hour AS low "
        "FROM usdt_perp_1m.candles "
        "WINDOW hour AS (PARTITION BY symbol ORDER BY open_time RANGE BETWEEN CURRENT ROW AND INTERVAL 59 MINUTE FOLLOWING) "
        "QUALIFY count(*) OVER hour = 60 ORDER BY symbol, open_time"
    ).to_arrow_table()
    assert exported.num_rows == alone.execute("SELECT count(*) FROM usdt_perp_1m.candles").fetchall()[0][0] == 239_952
    assert made.select(expected.column_names).cast(expected.schema) == expected
    assert pa.compute.max(pa.compute.value_counts(exported["symbol"]).field("counts")).as_py() == BARS - 4
    alone.close()


async def test_symbols_come_in_groups_of_bounded_size(small: Path) -> None:
    """Groups are full, in order, and a symbol that is more than a piece stands alone."""
    with connect(small) as reader:
        found = await asyncio.to_thread(
            lambda: list(symbol_pieces(reader, FEED.name, symbols=None, start_ms=0, end_ms=2**42, rows=50_000))
        )
        assert [total for _, total in found] == [2 * (BARS - 4)] * 6
        assert [name for group, _ in found for name in group] == sorted(f"S{i}USDT" for i in range(SYMBOLS))
        one = await asyncio.to_thread(
            lambda: list(symbol_pieces(reader, FEED.name, symbols=["S1USDT"], start_ms=0, end_ms=2**42, rows=10))
        )
        assert one == [(["S1USDT"], BARS - 4)]


def test_a_short_lack_of_memory_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked again while others have the memory; after a minute the error is told."""
    monkeypatch.setattr(pieces, "sleep", lambda _: None)
    asked = 0

    def ask() -> int:
        nonlocal asked
        asked += 1
        if asked < 4:
            raise QueryTooLarge("too large")
        return asked

    assert patiently(ask) == 4
    monkeypatch.setattr(pieces, "_PATIENCE_S", -1.0)
    asked = 0
    with pytest.raises(QueryTooLarge):
        patiently(ask)
