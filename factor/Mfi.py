"""Money flow index, 0 to 100. Formula and nulls: `Mfi.sql`."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bmacdb.factor.windows import divide, total, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    typical = (df["high"] + df["low"] + df["close"]) / 3
    flow, change = typical * df["volume"], typical.diff()
    rising = total(windows(flow.where(change > 0, 0.0), n))
    falling = total(windows(flow.where(change < 0, 0.0), n))
    df[args[2]] = divide(100 * rising, rising + falling)
    return df
