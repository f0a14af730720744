"""On-balance volume over the window. Formula and nulls: `Obv.sql`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bmacdb.factor.windows import total, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    df[args[2]] = total(windows(np.sign(df["close"].diff()) * df["volume"], n))
    return df
