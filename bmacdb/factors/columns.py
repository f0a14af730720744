"""The columns of `bars`."""

from __future__ import annotations

from bmacdb.model import CANDLE_VALUES

__all__ = ["BARS_COLUMNS", "CANDLE_COLUMNS", "FUNDING_COLUMNS", "SETTLED_S"]

CANDLE_COLUMNS = CANDLE_VALUES
FUNDING_COLUMNS = ("funding_rate", "funding_sum", "funding_count")
"""Of the fundings settled within a bar: the last, their sum, their number; null where there was none."""

SETTLED_S = 120
"""A settled funding counts from the candle in which it is this many seconds old: by then the recorder has it."""

BARS_COLUMNS = ("symbol", "open_time", *CANDLE_COLUMNS, *FUNDING_COLUMNS)
