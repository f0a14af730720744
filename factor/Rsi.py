"""Relative strength index with Wilder's smoothing, 0 to 100. Formula and nulls: `Rsi.sql`."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bmacdb.factor.windows import divide, wilder, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    change = df["close"].diff()
    up = wilder(windows((change.abs() + change) / 2, 10 * n), n)
    down = wilder(windows((change.abs() - change) / 2, 10 * n), n)
    df[args[2]] = divide(100 * up, up + down)
    return df
