"""Distance of the close from the volume weighted average price of n candles. Formula and nulls: `VwapBias.sql`."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bmacdb.factor.windows import divide, total, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    vwap = divide(total(windows(df["quote_volume"], n)), total(windows(df["volume"], n)))
    df[args[2]] = divide(df["close"], vwap) - 1
    return df
