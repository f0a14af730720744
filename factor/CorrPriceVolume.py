"""Correlation of close and volume. Formula and nulls: `CorrPriceVolume.sql`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bmacdb.factor.windows import divide, flat, mean, total, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    price, amount = windows(df["close"], n), windows(df["volume"], n)
    x, y = price - mean(price)[:, None], amount - mean(amount)[:, None]
    df[args[2]] = np.where(
        flat(price) | flat(amount), np.nan, divide(total(x * y), np.sqrt(total(x * x) * total(y * y)))
    )
    return df
