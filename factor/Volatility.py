"""Realized volatility: sample standard deviation of log returns, per candle (not annualized).

Formula and nulls: `Volatility.sql`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bmacdb.factor.windows import std, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    df[args[2]] = std(windows(np.log(df["close"] / df["close"].shift(1)), n), 1)
    return df
