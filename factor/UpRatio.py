"""Share of rising closes. Formula and nulls: `UpRatio.sql`."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bmacdb.factor.windows import mean, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    change = df["close"].diff()
    df[args[2]] = mean(windows((change > 0).astype(float).where(change.notna()), n))
    return df
