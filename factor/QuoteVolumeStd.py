"""Variation of turnover: sample standard deviation relative to the mean. Formula and nulls: `QuoteVolumeStd.sql`."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bmacdb.factor.windows import divide, mean, std, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    window = windows(df["quote_volume"], n)
    df[args[2]] = divide(std(window, 1), mean(window))
    return df
