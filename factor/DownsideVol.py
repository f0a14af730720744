"""Downside deviation of the changes. Formula and nulls: `DownsideVol.sql`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bmacdb.factor.windows import mean, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    fall = (df["close"] / df["close"].shift(1) - 1).clip(upper=0)
    df[args[2]] = np.sqrt(mean(windows(fall * fall, n)))
    return df
