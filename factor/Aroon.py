"""Aroon oscillator, -100 to 100. Formula and nulls: `Aroon.sql`."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bmacdb.factor.windows import highest, lowest, since, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    low, high = windows(df["low"], n + 1)[:, ::-1], windows(df["high"], n + 1)[:, ::-1]
    df[args[2]] = 100.0 * (since(low, lowest(low)) - since(high, highest(high))) / n
    return df
