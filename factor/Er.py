"""Kaufman's efficiency ratio, 0 to 1. Formula and nulls: `Er.sql`."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bmacdb.factor.windows import divide, total, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    df[args[2]] = divide((df["close"] - df["close"].shift(n)).abs(), total(windows(df["close"].diff().abs(), n)))
    return df
