"""Slope of the regression line through the closes, per candle. Formula and nulls: `RegSlope.sql`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bmacdb.factor.windows import total, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    window = windows(df["close"], n)
    places = np.arange(n) - (n - 1) / 2
    df[args[2]] = total(places * (window - window[:, -1:])) / (n * (n * n - 1.0) / 12)
    return df
