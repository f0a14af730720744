"""The library against pandas, bar by bar over rough candles: the same nulls, and values alike to 1e-9."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bmacdb.factors.library import bundled_names
from bmacdb.kit import compute
from tests.factor.support import START_MS, at, database, rough_market

STEP = 300_000
BARS = 260
N = 12

Frame = pd.DataFrame
Series = pd.Series


def _range(f: Frame) -> Series:
    previous = f["close"].shift()
    parts = [f["high"] - f["low"], (f["high"] - previous).abs(), (f["low"] - previous).abs()]
    return pd.concat(parts, axis=1).max(axis=1)


def _whole_range(f: Frame) -> Series:
    return _range(f).where(f["close"].shift().notna())


def _kept(values: Series, n: int = N) -> pd.core.window.Rolling:
    return values.rolling(n, min_periods=1)


def _typical(f: Frame) -> Series:
    return (f["high"] + f["low"] + f["close"]) / 3


def _weighted(values: Series, bars: int, step: Callable[[float, float], float], first: int = 1) -> Series:
    def last(window: np.ndarray) -> float:
        state = window[:first].mean()
        for value in window[first:]:
            state = step(state, value)
        return float(state)

    return values.rolling(bars).apply(last, raw=True)


def _wilder(values: Series, n: int = N) -> Series:
    return _weighted(values, 10 * n, lambda a, x: (a * (n - 1) + x) / n, n)


def _ewm(values: Series, span: int, bars: int) -> Series:
    return _weighted(values, bars, lambda a, x: a + 2 / (span + 1) * (x - a))


def _macd(f: Frame) -> Series:
    dif = _ewm(f["close"], 3, 60) - _ewm(f["close"], 6, 60)
    return dif - _ewm(dif, 4, 40)


def _kd(f: Frame, of: Callable[[Series, Series], Series]) -> Series:
    low, high = _kept(f["low"]).min(), _kept(f["high"]).max()
    rsv = (100 * (f["close"] - low) / (high - low)).where(high > low)

    def last(window: np.ndarray) -> float:
        k = pd.Series(window).dropna().ewm(com=2, adjust=False).mean()
        return float(of(k, k.ewm(com=2, adjust=False).mean()).iloc[-1]) if len(k) else np.nan

    whole = f["close"].rolling(N + 39).count() == N + 39
    return rsv.rolling(40, min_periods=1).apply(last, raw=True).where(whole)


def _fall(window: np.ndarray) -> float:
    close = window[~np.isnan(window)]
    return float((1 - close / np.maximum.accumulate(close)).max()) if len(close) else np.nan


def _flow(f: Frame) -> Series:
    change, flow = _typical(f).diff(), _typical(f) * f["volume"]
    rising, moved = flow.where(change > 0, 0.0), flow.where(change != 0, 0.0)
    return 100 * rising.rolling(N).sum() / moved.where(change.notna()).rolling(N).sum()


def _slope(window: np.ndarray) -> float:
    return float(np.polyfit(np.arange(len(window)), window, 1)[0])


def _newest(window: np.ndarray) -> float:
    return float(100 * (np.argmin(window[::-1, 1]) - np.argmax(window[::-1, 0])) / N)


def _aroon(f: Frame) -> Series:
    both = f[["high", "low"]].to_numpy()
    found = [np.nan] * N + [_newest(both[end - N : end + 1]) for end in range(N, len(both))]
    return pd.Series(found, index=f.index).where(f["close"].rolling(N + 1).count() == N + 1)


def _gain(f: Frame) -> Series:
    return f["close"].diff().clip(lower=0)


def _loss(f: Frame) -> Series:
    return -f["close"].diff().clip(upper=0)


ORACLE: dict[str, Callable[[Frame], Series]] = {
    "Amihud": lambda f: _kept(
        f["close"].pct_change(fill_method=None).abs() / f["quote_volume"].where(lambda v: v > 0)
    ).mean(),
    "Amplitude": lambda f: _kept(f["high"]).max() / _kept(f["low"]).min() - 1,
    "Aroon": _aroon,
    "Atr": lambda f: _whole_range(f).rolling(N).mean(),
    "AtrWilder": lambda f: _wilder(_whole_range(f)),
    "AvgTradeSize": lambda f: _kept(f["quote_volume"]).sum() / _kept(f["trade_num"]).sum(),
    "Bias": lambda f: f["close"] / _kept(f["close"]).mean() - 1,
    "BollWidth": lambda f: 4 * f["close"].rolling(N).apply(np.std, raw=True) / f["close"].rolling(N).mean(),
    "Cci": lambda f: (
        (_typical(f) - _typical(f).rolling(N).mean())
        / (
            0.015
            * _typical(f).rolling(N).apply(lambda w: np.abs(w - w.mean()).mean() if np.ptp(w) else np.nan, raw=True)
        )
    ),
    "CorrPriceVolume": lambda f: f["close"].rolling(N).corr(f["volume"]),
    "DownsideVol": lambda f: np.sqrt((f["close"].pct_change(fill_method=None).clip(upper=0) ** 2).rolling(N).mean()),
    "Ema": lambda f: _weighted(f["close"], 10 * N, lambda a, x: a + 2 / (N + 1) * (x - a)),
    "Er": lambda f: f["close"].diff(N).abs() / f["close"].diff().abs().rolling(N).sum().where(lambda v: v > 0),
    "GarmanKlass": lambda f: np.sqrt(
        (0.5 * np.log(f["high"] / f["low"]) ** 2 - (2 * np.log(2) - 1) * np.log(f["close"] / f["open"]) ** 2)
        .rolling(N)
        .mean()
    ),
    "ILLQMean": lambda f: _kept(
        f["quote_volume"]
        / ((2 * (f["high"] - f["low"]) - (f["open"] - f["close"]).abs()).where(lambda v: v != 0) / f["open"])
    ).mean(),
    "Kdj": lambda f: _kd(f, lambda k, d: 3 * k - 2 * d),
    "KdjD": lambda f: _kd(f, lambda k, d: d),
    "KdjK": lambda f: _kd(f, lambda k, d: k),
    "Kurt": lambda f: f["close"].pct_change(fill_method=None).rolling(N).apply(lambda w: pd.Series(w).kurt(), raw=True),
    "Ma": lambda f: _kept(f["close"]).mean(),
    "Macd": _macd,
    "MaxDrawdown": lambda f: _kept(f["close"]).apply(_fall, raw=True),
    "Mfi": _flow,
    "Mom": lambda f: f["close"].diff(N),
    "Mtm": lambda f: f["close"].pct_change(N, fill_method=None),
    "MtmAtrMean": lambda f: (
        _kept(f["close"].pct_change(N, fill_method=None)).mean() * _kept(_range(f)).mean() / _kept(f["close"]).mean()
    ),
    "MtmMean": lambda f: _kept(f["close"].pct_change(N, fill_method=None)).mean(),
    "NetTaBuyStd": lambda f: (
        (2 * f["taker_buy_quote_asset_volume"] / f["quote_volume"].where(lambda v: v > 0) - 1)
        .rolling(N, min_periods=2)
        .std()
    ),
    "Obv": lambda f: (np.sign(f["close"].diff()) * f["volume"]).rolling(N).sum(),
    "Parkinson": lambda f: np.sqrt((np.log(f["high"] / f["low"]) ** 2).rolling(N).mean() / (4 * np.log(2))),
    "PctChg": lambda f: f["close"].pct_change(N, fill_method=None),
    "QuoteVolumeMean": lambda f: _kept(f["quote_volume"]).mean(),
    "QuoteVolumeStd": lambda f: f["quote_volume"].rolling(N, min_periods=2).std() / _kept(f["quote_volume"]).mean(),
    "RegSlope": lambda f: f["close"].rolling(N).apply(_slope, raw=True),
    "Rsi": lambda f: 100 * _wilder(_gain(f)) / (_wilder(_gain(f)) + _wilder(_loss(f))),
    "RsiSum": lambda f: 100 * _gain(f).rolling(N).sum() / (_gain(f) + _loss(f)).rolling(N).sum(),
    "Skew": lambda f: f["close"].pct_change(fill_method=None).rolling(N).apply(lambda w: pd.Series(w).skew(), raw=True),
    "TakerBuyRatio": lambda f: _kept(f["taker_buy_quote_asset_volume"]).sum() / _kept(f["quote_volume"]).sum(),
    "TrdNumMeanV1": lambda f: _kept((f["high"] - f["low"]) / f["open"] / f["trade_num"].where(lambda v: v > 0)).mean(),
    "UpRatio": lambda f: (f["close"].diff() > 0).astype(float).where(f["close"].diff().notna()).rolling(N).mean(),
    "Volatility": lambda f: np.log(f["close"] / f["close"].shift()).rolling(N).std(),
    "VolumeRatio": lambda f: f["quote_volume"] / _kept(f["quote_volume"].shift()).mean(),
    "VwapBias": lambda f: f["close"] / (_kept(f["quote_volume"]).sum() / _kept(f["volume"]).sum()) - 1,
    "Wr": lambda f: (
        -100
        * (f["high"].rolling(N).max() - f["close"])
        / (f["high"].rolling(N).max() - f["low"].rolling(N).min()).where(lambda v: v > 0)
    ),
    "ZhangDieFuStd": lambda f: f["close"].pct_change(fill_method=None).rolling(N).std(),
}
FACTORS = [(name, "3,6,4" if name == "Macd" else N) for name in ORACLE]
ELSEWHERE = {"AmihudRank", "CsQuantile", "CsRank", "CsZscore", "FundingMean", "FundingRate", "FundingSum"}
"""Tested in `test_exactness`; Alpha001 to Alpha101 are in `test_alpha101`."""


@pytest.fixture(scope="module")
def panel() -> Frame:
    times = at(START_MS + STEP), at(START_MS + BARS * STEP)
    return compute(database(rough_market(BARS)), FACTORS, None, *times).reset_index().set_index("candle_begin_time")


def test_every_factor_has_an_oracle() -> None:
    """A new factor of the library needs a line here."""
    assert ORACLE.keys() | ELSEWHERE == {name for name in bundled_names() if not name.startswith("Alpha")}


@pytest.fixture(scope="module")
def hours(real_data: Path) -> Frame:
    """Hours of USD-M futures as the exchange had them: every 60th symbol, and some that were listed meanwhile."""
    bars = pd.read_parquet(real_data / "candles" / "um_1h_2026-03-06_19.parquet")
    frame = bars[["symbol"]].assign(
        open_time=pd.to_datetime(bars["ts"], unit="ms", utc=True),
        **{name: bars[name] for name in ("open", "high", "low", "close", "volume", "quote_volume")},
        trade_num=bars["trades"],
        # The takers' share was not recorded: any will do.
        taker_buy_base_asset_volume=bars["volume"] * 0.5,
        taker_buy_quote_asset_volume=bars["quote_volume"] * (0.25 + (bars["trades"] % 10) / 20),
    )
    counts = frame["symbol"].value_counts()
    chosen = {*sorted(counts.index)[::60], *counts[counts < counts.max() - 3].index[:5]}
    connection = database([frame[frame["symbol"].isin(chosen)]], feed="usdt_perp_1h")
    first, last = frame["open_time"].min(), frame["open_time"].max()
    hour = pd.Timedelta(hours=1)
    found = compute(connection, FACTORS, None, (first + hour).to_pydatetime(), (last + hour).to_pydatetime())
    return found.reset_index().set_index("candle_begin_time")


@pytest.mark.parametrize("name", ORACLE)
def test_the_library_is_as_pandas_computes_it(panel: Frame, name: str) -> None:
    """Holes, silence, a late listing, an early end, a flat price: on the grid of bars, symbol by symbol."""
    _compare(panel, name, "5min")


@pytest.mark.parametrize("name", ORACLE)
def test_the_library_is_as_pandas_computes_it_on_recorded_hours(hours: Frame, name: str) -> None:
    """Half a month of real futures, new listings included, and prices from 0.0000004 to 100 000."""
    _compare(hours, name, "1h")


def _compare(panel: Frame, name: str, step: str) -> None:
    column = f"{name}_3,6,4" if name == "Macd" else f"{name}_{N}"
    grid = pd.date_range(panel.index.min(), panel.index.max(), freq=step)
    for symbol, rows in panel.groupby("symbol"):
        bars = rows.drop(columns=["symbol", "candle_end_time"]).reindex(grid)
        with np.errstate(all="ignore"):
            wanted = ORACLE[name](bars)[rows.index].replace([np.inf, -np.inf], np.nan)
        scale = rows["close"].mean() if name in ("Mom", "Macd", "RegSlope") else 100 if name in ("Cci", "Wr") else 1
        # pandas keeps running sums, which gather some rounding, most after the large values of a volume.
        loose = "Volume" in name or name in ("Obv", "Mfi", "AvgTradeSize")
        np.testing.assert_allclose(
            rows[column], wanted, rtol=1e-7 if loose else 1e-9, atol=1e-10 * scale, err_msg=str(symbol)
        )
    assert panel[column].notna().any()
