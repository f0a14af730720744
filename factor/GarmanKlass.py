"""Garman-Klass volatility, per candle. Formula and nulls: `GarmanKlass.sql`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bmacdb.factor.windows import mean, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    spread, move = np.log(df["high"] / df["low"]), np.log(df["close"] / df["open"])
    variance = mean(windows(0.5 * spread * spread - (2 * np.log(2) - 1) * move * move, n))
    df[args[2]] = np.sqrt(np.where(variance >= 0, variance, np.nan))
    return df
