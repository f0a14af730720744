"""Factors as candles come are those of the range, to the last bit, whatever the order and the portions."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from bmacdb.factors.library import Library
from bmacdb.kit.database import DatabaseSource
from bmacdb.kit.engine import compute_plan
from bmacdb.kit.panel import PanelSource
from bmacdb.kit.stream import FactorStream
from bmacdb.live.panel import Panel
from tests.factor.support import FEED, START_MS, Make, candles, database

STEP = 300_000
BARS = 90
MODULES = {
    "Mean.py": "def signal(*args):\n    df, n, name = args[:3]\n    df[name] = df['close'].rolling(n).mean()\n"
    "    return df\n",
    "Ewm.py": "def signal(*args):\n    df, n, name = args[:3]\n    df[name] = df['close'].ewm(span=n).mean()\n"
    "    return df\n",
    "Loop.py": "LOOKBACK = 20\n\n\ndef signal(*args):\n    df, n, name = args[:3]\n"
    "    if df['symbol'].iloc[-1] == 'S03USDT':\n        raise ValueError('no S03')\n"
    "    df[name] = [float(sum(df['close'][max(i - n, 0):i])) for i in range(len(df))]\n    return df\n",
}
FACTORS = [("Mean", 10), ("Ewm", 12), ("Loop", 5), "PctChg:12", "CsRank:PctChg:12", "Ema:4"]


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    """24 symbols, among them some with gaps at their end, at their begin, and listed during the last bars."""
    missing = {4: [40, 41], 5: range(BARS - 3), 6: [BARS - 1], 7: [BARS - 2], 8: range(50)}
    frames = [candles(f"S{n:02d}USDT", BARS, seed=n, missing=list(missing.get(n, ()))) for n in range(24)]
    return database(frames, num_candles=60)


def rows_of(connection: duckdb.DuckDBPyConnection, low: int, high: int) -> pa.Table:
    where = f"epoch_ms(open_time) >= {START_MS + low * STEP} AND epoch_ms(open_time) < {START_MS + high * STEP}"
    return connection.execute(f'FROM "{FEED}".candles WHERE {where} ORDER BY open_time, symbol').to_arrow_table()


@pytest.fixture
def stream(connection: duckdb.DuckDBPyConnection, package: Make) -> Iterator[FactorStream]:
    source = DatabaseSource.of(connection)
    panel = Panel(FEED, source.interval, 60, START_MS)
    panel.apply(rows_of(connection, 0, BARS - 4))
    with FactorStream(PanelSource(panel, source), Library(package(MODULES)).plan(FACTORS)) as made:
        yield made


def same(stream: FactorStream, connection: duckdb.DuckDBPyConnection, run_ms: int) -> None:
    there = compute_plan(DatabaseSource.of(connection), stream.plan, run_ms - STEP, run_ms - STEP)
    here = stream.table(run_ms)
    pd.testing.assert_frame_equal(here.frame, there.frame, check_exact=True)
    assert {(one.call, one.symbol) for one in here.failures} == {(one.call, one.symbol) for one in there.failures}


@pytest.mark.parametrize("portion", [1, 3, 10, 24])
def test_candles_in_any_order_and_portions(
    stream: FactorStream, connection: duckdb.DuckDBPyConnection, portion: int
) -> None:
    """With gaps, a symbol that never comes, one that is new, and a candle that comes twice."""
    draw = np.random.default_rng(portion)
    for bar in range(BARS - 4, BARS):
        run_ms = START_MS + (bar + 1) * STEP
        rows = rows_of(connection, bar, bar + 1)
        rows = rows.take(pa.array(draw.permutation(rows.num_rows)))
        parts = [rows.slice(low, portion) for low in range(0, rows.num_rows, portion)]
        wrong = parts[0].set_column(5, "close", pa.array(np.full(parts[0].num_rows, 7.0)))
        for part in (wrong, *parts, parts[-1]):
            stream.source.panel.apply(part)
            stream.take(run_ms, part.column("symbol").to_pylist())
        same(stream, connection, run_ms)


def test_nothing_is_read_for_what_was_computed_before(
    stream: FactorStream, connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At completion only stragglers are computed, here those that were never announced."""
    rows = rows_of(connection, BARS - 4, BARS - 3)
    stream.source.panel.apply(rows)
    run_ms = START_MS + (BARS - 3) * STEP
    names = rows.column("symbol").to_pylist()
    stream.take(run_ms, names[:-2])
    asked: list[str] = []
    real = PanelSource.rows

    def rows_told(source: PanelSource, span: object, lookback: int, symbols: list[str], **how: bool) -> object:
        asked.extend(symbols)
        return real(source, span, lookback, symbols, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(PanelSource, "rows", rows_told)
    same(stream, connection, run_ms)
    assert asked == names[-2:]


def test_an_older_run_time_and_one_without_a_candle(
    stream: FactorStream, connection: duckdb.DuckDBPyConnection
) -> None:
    """The last run time stays at hand; one that nothing has come for is computed when it is asked for."""
    stream.source.panel.apply(rows_of(connection, BARS - 4, BARS - 2))
    stream.take(START_MS + (BARS - 2) * STEP, ["S01USDT"])
    stream.take(START_MS + (BARS - 3) * STEP, ["S01USDT"])
    for bar in (BARS - 3, BARS - 2):
        same(stream, connection, START_MS + bar * STEP)


def test_a_gap_that_is_filled_late_counts(stream: FactorStream, connection: duckdb.DuckDBPyConnection) -> None:
    """The candle of the bar before comes after the newest one, whose factors were computed without it."""
    late = rows_of(connection, BARS - 4, BARS - 3)
    stream.source.panel.apply(late.slice(1))
    newest = rows_of(connection, BARS - 3, BARS - 2)
    stream.source.panel.apply(newest)
    run_ms = START_MS + (BARS - 2) * STEP
    stream.take(run_ms, newest.column("symbol").to_pylist())
    first = late.column("symbol")[0].as_py()
    without = stream.table(run_ms).frame.set_index("symbol")["Mean_10"].fillna(0)
    stream.source.panel.apply(late.slice(0, 1))
    stream.take(run_ms - STEP, [first])
    same(stream, connection, run_ms)
    changed = stream.table(run_ms).frame.set_index("symbol")["Mean_10"].fillna(0) != without
    assert list(changed[changed].index) == [first]


def test_one_symbol_is_computed_by_itself(stream: FactorStream, connection: duckdb.DuckDBPyConnection) -> None:
    run_ms = START_MS + (BARS - 4) * STEP
    found = stream.table(run_ms).frame.set_index("symbol").loc["S09USDT"]
    pd.testing.assert_series_equal(stream.one(run_ms, "S09USDT"), found, check_exact=True)
    with pytest.raises(KeyError):
        stream.one(run_ms, "NOUSDT")
