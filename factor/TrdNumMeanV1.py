"""Mean range per trade. Formula and nulls: `TrdNumMeanV1.sql`."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bmacdb.factor.windows import divide, mean, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    df[args[2]] = mean(windows(divide((df["high"] - df["low"]) / df["open"], df["trade_num"]), n))
    return df
