"""Exponential moving average of the close. Formula and nulls: `Ema.sql`."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bmacdb.factor.windows import ewm, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    df[args[2]] = ewm(windows(df["close"], 10 * n), 2.0 / (n + 1))
    return df
