"""Mean momentum weighted by the average true range relative to the mean price.

Formula and nulls: `MtmAtrMean.sql`."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bmacdb.factor.windows import mean, true_range, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    mtm = mean(windows(df["close"] / df["close"].shift(n) - 1, n))
    df[args[2]] = mtm * mean(windows(true_range(df), n)) / mean(windows(df["close"], n))
    return df
