"""Mean turnover of a trade. Formula and nulls: `AvgTradeSize.sql`."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bmacdb.factor.windows import divide, total, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    df[args[2]] = divide(total(windows(df["quote_volume"], n)), total(windows(df["trade_num"], n)))
    return df
