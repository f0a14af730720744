"""Plain parquet and csv: every row once, in the order of time, whole or not at all."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bmacdb.errors import UsageError
from bmacdb.export import flat
from bmacdb.export.flat import TABLES, FlatExport
from bmacdb.store.reader import connect
from bmacdb.store.rows import SCHEMAS

from .support import FEED, RUN_MS, STEP_MS, SYMBOLS, recorded


async def exporter(path: Path, **more: object) -> FlatExport:
    store = await recorded(path)
    await store.close()
    reader = connect(path)
    return FlatExport(lambda query, params: reader.sql(query, dict(params) or None).arrow(), FEED.name, **more)  # type: ignore[arg-type]


async def test_a_table_leaves_in_pieces_and_no_row_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flat, "_PIECE_ROWS", 7)
    export = await exporter(tmp_path / "bmac.duckdb")
    assert export.to_file(tmp_path / "x.parquet") == 120
    table = pq.read_table(tmp_path / "x.parquet")
    assert table.column_names == SCHEMAS["candles"].names
    keys = list(zip(table["open_time"].to_pylist(), table["symbol"].to_pylist(), strict=True))
    assert keys == sorted(keys)
    assert len(set(keys)) == 120
    assert export.to_file(tmp_path / "x.csv", "csv") == 120
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 120
    assert rows[0]["open_time"] == "2024-08-03T04:45:00.000+00:00"
    assert [float(row["close"]) for row in rows] == table["close"].to_pylist()


async def test_every_table_leaves_in_both_formats_also_an_empty_one(tmp_path: Path) -> None:
    export = await exporter(tmp_path / "bmac.duckdb")
    for name in TABLES:
        one = FlatExport(export.ask, FEED.name, name)
        rows = one.to_file(tmp_path / f"{name}.parquet")
        assert pq.read_table(tmp_path / f"{name}.parquet").num_rows == rows
        assert one.to_file(tmp_path / f"{name}.csv", "csv") == rows
        lines = (tmp_path / f"{name}.csv").read_text("utf-8").splitlines()
        assert len(lines) == rows + 1
    assert rows == 0, "no corrections: a header and no row"


async def test_symbols_and_times_bound_what_leaves(tmp_path: Path) -> None:
    export = await exporter(
        tmp_path / "bmac.duckdb", symbols=["币安人生USDT"], start_ms=RUN_MS - 3 * STEP_MS, end_ms=RUN_MS
    )
    assert export.to_folder(tmp_path / "per", "csv") == {"币安人生USDT": 3}
    assert [path.name for path in (tmp_path / "per").iterdir()] == ["币安人生USDT.csv"]
    everything = FlatExport(export.ask, FEED.name)
    assert everything.to_folder(tmp_path / "all") == dict.fromkeys(sorted(SYMBOLS), 40)


async def test_a_wrong_name_is_told(tmp_path: Path) -> None:
    export = await exporter(tmp_path / "bmac.duckdb", table="candels")
    with pytest.raises(UsageError, match="Did you mean candles"):
        export.to_file(tmp_path / "x.parquet")
    with pytest.raises(UsageError, match="not one of parquet, csv"):
        FlatExport(export.ask, FEED.name).to_file(tmp_path / "x.xls", "xls")
    with pytest.raises(UsageError, match="has no symbols"):
        FlatExport(export.ask, FEED.name, "runs").to_folder(tmp_path / "runs")
    assert not (tmp_path / "x.parquet").exists()
