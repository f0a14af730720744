"""Turnover of the candle relative to the mean of the n before it. Formula and nulls: `VolumeRatio.sql`."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bmacdb.factor.windows import divide, mean, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    df[args[2]] = divide(df["quote_volume"], mean(windows(df["quote_volume"].shift(1), n)))
    return df
