"""Relative strength index with plain sums (Cutler), 0 to 100. Formula and nulls: `RsiSum.sql`."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bmacdb.factor.windows import divide, total, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    change = df["close"].diff()
    df[args[2]] = divide(100 * total(windows((change.abs() + change) / 2, n)), total(windows(change.abs(), n)))
    return df
