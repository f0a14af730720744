"""Mean momentum: the n-candle change, averaged over n candles. Formula and nulls: `MtmMean.sql`."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bmacdb.factor.windows import mean, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    df[args[2]] = mean(windows(df["close"] / df["close"].shift(n) - 1, n))
    return df
