"""Amihud's illiquidity: absolute change per unit of turnover. Formula and nulls: `Amihud.sql`."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bmacdb.factor.windows import divide, mean, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    change = (df["close"] / df["close"].shift(1) - 1).abs()
    df[args[2]] = mean(windows(divide(change, df["quote_volume"]), n))
    return df
