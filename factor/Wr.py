"""Williams %R, -100 to 0. Formula and nulls: `Wr.sql`."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bmacdb.factor.windows import divide, highest, lowest, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    high, low = highest(windows(df["high"], n)), lowest(windows(df["low"], n))
    df[args[2]] = divide(-100 * (high - df["close"].to_numpy()), high - low)
    return df
