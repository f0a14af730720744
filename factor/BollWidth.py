"""Width of the Bollinger bands relative to their middle. Formula and nulls: `BollWidth.sql`."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bmacdb.factor.windows import mean, std, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    window = windows(df["close"], n)
    df[args[2]] = 4 * std(window, 0) / mean(window)
    return df
