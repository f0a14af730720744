"""Mean turnover per unit of price path: how much money a move takes. Formula and nulls: `ILLQMean.sql`."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bmacdb.factor.windows import divide, mean, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    path = (2 * (df["high"] - df["low"]) - (df["open"] - df["close"]).abs()) / df["open"]
    df[args[2]] = mean(windows(divide(df["quote_volume"], path), n))
    return df
