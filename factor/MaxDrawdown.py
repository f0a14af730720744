"""Largest fall of the close from a high before it, within the window, as a positive fraction.

Formula and nulls: `MaxDrawdown.sql`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bmacdb.factor.windows import highest, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    window = windows(df["close"], n)
    top = np.fmax.accumulate(window, axis=1)
    df[args[2]] = highest(1 - window / top)
    return df
