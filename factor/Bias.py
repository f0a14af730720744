"""Distance of the close from its simple moving average. Formula and nulls: `Bias.sql`."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bmacdb.factor.windows import mean, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    df[args[2]] = df["close"] / mean(windows(df["close"], n)) - 1
    return df
