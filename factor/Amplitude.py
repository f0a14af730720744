"""Range of the window relative to its low. Formula and nulls: `Amplitude.sql`."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bmacdb.factor.windows import highest, lowest, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    df[args[2]] = highest(windows(df["high"], n)) / lowest(windows(df["low"], n)) - 1
    return df
