"""The J line of the KDJ stochastic. Formula and nulls: `Kdj.sql`."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bmacdb.factor.windows import stochastic

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    k, d = stochastic(df, n)
    df[args[2]] = 3 * k - 2 * d
    return df
