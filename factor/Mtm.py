"""Momentum: the community's name for the change of the close over n candles. Formula and nulls: `Mtm.sql`."""

from __future__ import annotations

from typing import Any

import pandas as pd

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    df[args[2]] = df["close"] / df["close"].shift(n) - 1
    return df
