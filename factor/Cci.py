"""Commodity channel index. Formula and nulls: `Cci.sql`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bmacdb.factor.windows import divide, flat, mean, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    typical = (df["high"] + df["low"] + df["close"]) / 3
    window = windows(typical, n)
    middle = mean(window)
    spread = mean(np.abs(window - middle[:, None]))
    df[args[2]] = np.where(flat(window), np.nan, divide(typical.to_numpy() - middle, 0.015 * spread))
    return df
