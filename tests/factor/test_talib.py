"""A handful of factors against an independent implementation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bmacdb.kit import compute
from tests.factor.support import START_MS, at, candles, database

talib = pytest.importorskip("talib", reason="TA-Lib is not installed (pip install TA-Lib)")

BARS = 300
STEP = 300_000


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return candles("AUSDT", BARS, seed=42)


def _ours(rows: pd.DataFrame, factor: str) -> Any:
    panel = compute(database([rows]), [factor], None, at(START_MS + STEP), at(START_MS + BARS * STEP))
    return panel.iloc[:, -1].to_numpy()


WINDOWED: dict[str, Callable[[pd.DataFrame], Any]] = {
    "Ma:20": lambda f: talib.SMA(f["close"].to_numpy(), 20),
    "Mom:10": lambda f: talib.MOM(f["close"].to_numpy(), 10),
    "PctChg:10": lambda f: talib.ROCP(f["close"].to_numpy(), 10),
    "Cci:14": lambda f: talib.CCI(f["high"].to_numpy(), f["low"].to_numpy(), f["close"].to_numpy(), 14),
    "Wr:14": lambda f: talib.WILLR(f["high"].to_numpy(), f["low"].to_numpy(), f["close"].to_numpy(), 14),
    "Aroon:25": lambda f: talib.AROONOSC(f["high"].to_numpy(), f["low"].to_numpy(), 25),
    "CorrPriceVolume:24": lambda f: talib.CORREL(f["close"].to_numpy(), f["volume"].to_numpy(), 24),
    "RegSlope:14": lambda f: talib.LINEARREG_SLOPE(f["close"].to_numpy(), 14),
    "Mfi:14": lambda f: talib.MFI(
        f["high"].to_numpy(), f["low"].to_numpy(), f["close"].to_numpy(), f["volume"].to_numpy(), 14
    ),
    "BollWidth:20": lambda f: (lambda up, mid, down: (up - down) / mid)(*talib.BBANDS(f["close"].to_numpy(), 20, 2, 2)),
    "Atr:14": lambda f: talib.SMA(talib.TRANGE(f["high"].to_numpy(), f["low"].to_numpy(), f["close"].to_numpy()), 14),
}


@pytest.mark.parametrize("factor", WINDOWED)
def test_windowed_factors_are_those_of_ta_lib(rows: pd.DataFrame, factor: str) -> None:
    """Value for value, wherever both have one."""
    ours, theirs = _ours(rows, factor), WINDOWED[factor](rows)
    both = ~np.isnan(ours) & ~np.isnan(theirs)
    assert both.sum() > BARS - 60
    # TA-Lib keeps running sums, which gather some rounding.
    np.testing.assert_allclose(ours[both], theirs[both], rtol=1e-7, atol=1e-9)


def _at_each_window(rows: pd.DataFrame, size: int, last: Callable[[pd.DataFrame], Any]) -> Any:
    """TA-Lib started afresh at the first candle of each look-back."""
    return np.array([last(rows.iloc[end - size : end])[-1] for end in range(size, BARS + 1)])


def test_recursive_factors_are_those_of_ta_lib_over_the_look_back(rows: pd.DataFrame) -> None:
    """Wilder's RSI and ATR, and the EMA, started where their look-back starts."""
    values = {
        "Rsi:9": (91, lambda f: talib.RSI(f["close"].to_numpy(), 9)),
        "AtrWilder:9": (91, lambda f: talib.ATR(f["high"].to_numpy(), f["low"].to_numpy(), f["close"].to_numpy(), 9)),
    }
    for factor, (size, last) in values.items():
        np.testing.assert_allclose(_ours(rows, factor)[size - 1 :], _at_each_window(rows, size, last), rtol=1e-9)
    talib.set_compatibility(1)  # the first price starts the average, as in pandas with adjust=False
    try:
        theirs = _at_each_window(rows, 120, lambda f: talib.EMA(f["close"].to_numpy(), 12))
    finally:
        talib.set_compatibility(0)
    np.testing.assert_allclose(_ours(rows, "Ema:12")[119:], theirs, rtol=1e-9)


def test_on_balance_volume_is_the_change_of_ta_libs(rows: pd.DataFrame) -> None:
    """OBV over a window is the difference of the running one."""
    running = talib.OBV(rows["close"].to_numpy(), rows["volume"].to_numpy())
    np.testing.assert_allclose(_ours(rows, "Obv:24")[24:], running[24:] - running[:-24], rtol=1e-9, atol=1e-6)


def test_macd_and_kdj_are_those_of_pandas(rows: pd.DataFrame) -> None:
    """The recursions are pandas' ewm with adjust=False."""
    close = rows["close"].reset_index(drop=True)
    dif = close.ewm(span=6, adjust=False).mean() - close.ewm(span=13, adjust=False).mean()
    expected = (dif - dif.ewm(span=4, adjust=False).mean()).iloc[-1]
    # pandas' own begins at the first row: what lies before a look-back of ten spans weighs less than a millionth.
    assert _ours(rows, "Macd:6,13,4")[-1] == pytest.approx(expected, rel=1e-5)
    low, high = rows["low"].rolling(9).min(), rows["high"].rolling(9).max()
    rsv = (100 * (rows["close"] - low) / (high - low)).iloc[-40:]
    k = rsv.ewm(com=2, adjust=False).mean()
    d = k.ewm(com=2, adjust=False).mean()
    for factor, expected in (("KdjK:9", k), ("KdjD:9", d), ("Kdj:9", 3 * k - 2 * d)):
        assert _ours(rows, factor)[-1] == pytest.approx(expected.iloc[-1], rel=1e-9)


def test_moments_are_those_of_pandas(rows: pd.DataFrame) -> None:
    """Skewness and kurtosis are pandas' bias-corrected ones."""
    changes = rows["close"].pct_change().iloc[-24:]
    assert _ours(rows, "Skew:24")[-1] == pytest.approx(changes.skew(), rel=1e-9)
    assert _ours(rows, "Kurt:24")[-1] == pytest.approx(changes.kurt(), rel=1e-9)
