"""Skewness of the changes from candle to candle. Formula and nulls: `Skew.sql`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bmacdb.factor.windows import divide, mean, total, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    window = windows(df["close"] / df["close"].shift(1) - 1, n)
    away = window - mean(window)[:, None]
    spread = total(away * away) / n
    df[args[2]] = divide(total(away * away * away) / n, spread * np.sqrt(spread)) * (np.sqrt(n * (n - 1.0)) / (n - 2.0))
    return df
