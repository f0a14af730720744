"""Sample standard deviation of the changes from candle to candle (zhang die fu).

Formula and nulls: `ZhangDieFuStd.sql`."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bmacdb.factor.windows import std, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    df[args[2]] = std(windows(df["close"] / df["close"].shift(1) - 1, n), 1)
    return df
