"""MACD histogram. Formula and nulls: `Macd.sql`."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bmacdb.factor.windows import ewm, ewm_path, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    fast, slow, signal_span = (int(part) for part in str(args[1]).split(","))
    window = windows(df["close"], 10 * max(slow, signal_span))
    quick, calm = ewm_path(window, 2.0 / (fast + 1)), ewm_path(window, 2.0 / (slow + 1))
    df[args[2]] = quick[:, -1] - calm[:, -1] - ewm(quick - calm, 2.0 / (signal_span + 1))
    return df
