"""The D line of the KDJ stochastic. Formula and nulls: `KdjD.sql`."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bmacdb.factor.windows import stochastic

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    _, d = stochastic(df, n)
    df[args[2]] = d
    return df
