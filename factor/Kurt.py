"""Excess kurtosis of the changes from candle to candle. Formula and nulls: `Kurt.sql`."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bmacdb.factor.windows import divide, mean, total, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    window = windows(df["close"] / df["close"].shift(1) - 1, n)
    away = window - mean(window)[:, None]
    spread = total(away * away) / n
    peak = divide(total(away * away * away * away) / n, spread * spread)
    df[args[2]] = (n - 1.0) / ((n - 2.0) * (n - 3.0)) * ((n + 1.0) * peak - 3.0 * (n - 1.0))
    return df
