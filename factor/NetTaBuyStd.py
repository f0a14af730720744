"""Variation of the net taker buying: sample standard deviation of its share of the turnover.

Formula and nulls: `NetTaBuyStd.sql`."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bmacdb.factor.windows import divide, std, windows

__all__ = ["signal"]


def signal(*args: Any) -> pd.DataFrame:
    df: pd.DataFrame = args[0]
    n = int(args[1])
    df[args[2]] = std(windows(divide(2 * df["taker_buy_quote_asset_volume"], df["quote_volume"]) - 1, n), 1)
    return df
