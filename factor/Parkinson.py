"""Parkinson's range volatility, per candle. Formula and nulls: `Parkinson.sql`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bmacdb.factor.windows import mean, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    spread = np.log(df["high"] / df["low"])
    df[args[2]] = np.sqrt(mean(windows(spread * spread, n)) / (4 * np.log(2)))
    return df
