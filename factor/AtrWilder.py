"""Average true range with Wilder's smoothing. Formula and nulls: `AtrWilder.sql`."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bmacdb.factor.windows import true_range, wilder, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    df[args[2]] = wilder(windows(true_range(df), 10 * n), n)
    return df
