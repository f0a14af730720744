"""The SQL and the Python form of every bundled factor are one factor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bmacdb.factor import Library
from bmacdb.kit.engine import compute_plan
from bmacdb.kit.source import Source
from tests.factor.support import START_MS, candles, database, rough_market

BOTH = [name for name in Library().names() if (Path(__file__).parents[2] / "factor" / f"{name}.py").is_file()]
LIBRARY, PYTHON = Library(), Library(python=True)

# Results that are differences of far larger numbers: what rounding leaves of zero has no relative precision.
SCALE = {"Bias": 1.0, "VwapBias": 1.0, "MtmAtrMean": 1e-3, "Cci": 100.0, "Macd": None, "Mom": None, "RegSlope": None}


def _params(name: str) -> list[object]:
    return ["12,26,9", "3,6,4"] if name == "Macd" else [5, 24]


Frames = tuple[pd.DataFrame, pd.DataFrame]


def _both(source: Source, first_ms: int, last_ms: int, calls: list[tuple[str, object]] | None = None) -> Frames:
    """Every factor in SQL and in Python over the same candles."""
    calls = calls or [(name, param) for name in BOTH for param in _params(name)]
    sql = compute_plan(source, LIBRARY.plan(calls), first_ms, last_ms)
    python = compute_plan(source, PYTHON.plan(calls), first_ms, last_ms)
    assert not python.failures, python.failures[0]
    assert sql.frame["symbol"].equals(python.frame["symbol"])
    return sql.frame, python.frame


def _agree(frames: Frames, name: str, param: object) -> int:
    """How many values there are. They are alike."""
    sql, python = frames
    one, other = sql[f"{name}_{param}"].to_numpy(), python[f"{name}_{param}"].to_numpy()
    np.testing.assert_array_equal(np.isnan(one), np.isnan(other))
    there = ~np.isnan(one)
    scale = SCALE.get(name, 0.0)
    floor = sql["close"].to_numpy()[there] if scale is None else np.full(there.sum(), scale)
    error = np.abs(one - other)[there]
    limit = 1e-9 * np.maximum(np.abs(one), np.abs(other))[there] + 1e-12 * floor
    assert (error <= limit).all(), f"{name}:{param}: off by {(error / np.maximum(limit, 1e-300)).max():g} limits"
    return int(there.sum())


def test_more_than_thirty_factors_have_both_forms() -> None:
    """The library is as large as it says, and every Python form has its SQL form."""
    assert len(BOTH) >= 30
    assert set(BOTH) <= set(LIBRARY.bundled())


@pytest.fixture(scope="module")
def rough() -> Frames:
    return _both(Source.of(database(rough_market())), START_MS, START_MS + 259 * 300_000)


@pytest.mark.parametrize("name", BOTH)
def test_both_forms_agree_on_candles_with_holes(rough: Frames, name: str) -> None:
    """Gaps, silent candles, late listings, early ends, flat prices: the same nulls, and values alike to 1e-9."""
    for param in _params(name):
        _agree(rough, name, param)


def test_months_are_counted_as_the_calendar_has_them() -> None:
    """A grid of unequal bars: the close 24 months ago is found, a hole where it is, and nothing before 1970."""
    months = Source.of(database([candles("AUSDT", 80, seed=1, interval="1M", missing=[50])], feed="usdt_perp_1mo"))
    last = months.interval.shift(START_MS, 79)
    frames = _both(months, START_MS, last, [("PctChg", 24), ("Atr", 5), ("Ma", 700)])
    assert _agree(frames, "PctChg", 24) == 80 - 24 - 1 - 1
    assert _agree(frames, "Atr", 5) == 80 - 5 - 1 - 5
    assert _agree(frames, "Ma", 700) == 79, "a mean of what there is, its window reaching back to 1967"


def _frame(symbol: object, open_ms: pd.Series, bars: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    made = bars[names].set_axis(["open", "high", "low", "close", "volume", "quote_volume", "trade_num"], axis=1)
    made.insert(0, "symbol", symbol)
    made.insert(1, "open_time", pd.to_datetime(open_ms, unit="ms", utc=True))
    # Where the takers' share was not recorded, any will do.
    made["taker_buy_base_asset_volume"] = made["volume"] * 0.5
    made["taker_buy_quote_asset_volume"] = made["quote_volume"] * (0.25 + (made["trade_num"] % 10) / 20)
    return made


@pytest.fixture(scope="module")
def hours(real_data: Path) -> Frames:
    """Hours of USD-M futures as the exchange had them: every 20th symbol, and those listed within the range."""
    bars = pd.read_parquet(real_data / "candles" / "um_1h_2026-03-06_19.parquet")
    names = ["open", "high", "low", "close", "volume", "quote_volume", "trades"]
    frame = _frame(bars["symbol"], bars["ts"], bars, names)
    counts = frame["symbol"].value_counts()
    chosen = {*sorted(counts.index)[::60], *counts[counts < counts.max() - 3].index[:5]}
    connection = database([frame[frame["symbol"].isin(chosen)]], feed="usdt_perp_1h")
    source = Source.of(connection)
    return _both(source, *_range(source))


@pytest.fixture(scope="module")
def minutes(real_data: Path) -> Frames:
    """Minutes of spot: LUNA before and after the 18 days in which it was not traded, and quiet ALGO."""
    luna = pd.read_csv(real_data / "archive" / "LUNAUSDT-1m-2022-05.zip", header=None)
    hole = int((luna[0].diff() > 60_000).to_numpy().argmax())
    luna = luna.iloc[hole - 300 : hole + 300]
    algo = pd.read_csv(real_data / "archive" / "ALGOUSDT-1m-2026-02.csv.gz")
    silent = int(algo.index[algo["volume"] == 0][0])
    algo = algo.iloc[max(silent - 150, 0) : silent + 150]
    shift = (int(luna[0].iloc[0]) - int(algo["open_time"].iloc[0])) // 60_000 * 60_000
    names = ["open", "high", "low", "close", "volume", "quote_volume", "count"]
    frames = [
        _frame("LUNAUSDT", luna[0], luna, [1, 2, 3, 4, 5, 7, 8]),  # type: ignore[list-item]  # a file without a header
        _frame("ALGOUSDT", algo["open_time"] + shift, algo, names),
    ]
    source = Source.of(database(frames, feed="usdt_spot_1m"))
    return _both(source, *_range(source))


def _range(source: Source) -> tuple[int, int]:
    row = source.ask(
        f'SELECT epoch_ms(min(open_time)) AS a, epoch_ms(max(open_time)) AS b FROM "{source.schema}".candles'
    )
    return row.column("a")[0].as_py(), row.column("b")[0].as_py()


@pytest.mark.parametrize("name", BOTH)
def test_both_forms_agree_on_recorded_hours(hours: Frames, name: str) -> None:
    """Half a month of real futures, new listings included: the same nulls, and values alike to 1e-9."""
    assert _agree(hours, name, _params(name)[-1]) > 0


@pytest.mark.parametrize("name", BOTH)
def test_both_forms_agree_on_recorded_minutes(minutes: Frames, name: str) -> None:
    """Real minutes with a hole of 18 days, a fall to 0.00005 and silent candles: the same nulls, alike to 1e-9."""
    assert _agree(minutes, name, _params(name)[-1]) > 0
