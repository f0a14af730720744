"""Windows over many columns, with pandas' own C functions called column by column.

`DataFrame.rolling` calls them too, and spends as long on each column's bounds and checks. They are no public part of
pandas: where one is not there, or the windows are of a special kind, the frame's own method is called. That values are
those of a single column is checked by `bmacdb.kit.ways`, as for everything here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bmacdb.kit.threads import in_threads

__all__ = ["corr", "expanding_bounds", "move", "rolling_bounds"]

Bounds = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
Table = npt.NDArray[np.float64]

try:
    _AGGREGATIONS: Any = importlib.import_module("pandas._libs.window.aggregations")
except ImportError:
    _AGGREGATIONS = None

_NAMES = {name: f"roll_{name}" for name in ("sum", "mean", "var", "max", "min", "skew", "kurt")} | {"std": "roll_var"}


def rolling_bounds(rows: int, window: int) -> Bounds:
    """Where each row's window begins and ends (not included)."""
    ends = np.arange(1, rows + 1, dtype=np.int64)
    return np.clip(ends - window, 0, rows), ends


def expanding_bounds(rows: int) -> Bounds:
    """As above, from the first row on."""
    return np.zeros(rows, dtype=np.int64), np.arange(1, rows + 1, dtype=np.int64)


def move(frame: pd.DataFrame, name: str, bounds: Bounds, least: int, ddof: int = 1) -> pd.DataFrame | None:
    """pandas' `name` over the windows of each column, null with fewer than `least` values; None: not known here."""
    kernel: Callable[..., Table] | None = getattr(_AGGREGATIONS, _NAMES.get(name, ""), None)
    if kernel is None:
        return None
    table = _plain(frame)
    made = np.empty_like(table)
    more = (ddof,) if name in ("var", "std") else ()

    def some(numbers: range) -> None:
        for number in numbers:
            made[number] = kernel(table[number], *bounds, least, *more)

    in_threads(some, len(table))
    if name == "std":
        made = np.where(made < 0, 0.0, np.sqrt(made))
    return _framed(made, frame)


def corr(frame: pd.DataFrame, other: pd.DataFrame, bounds: Bounds, least: int) -> pd.DataFrame | None:
    """The correlation of two frames, column by column; None where pandas has no function of its own for it."""
    kernel = getattr(_AGGREGATIONS, "roll_corr", None)
    if kernel is None:
        return None
    ours, theirs = _plain(frame + 0 * other), _plain(other + 0 * frame)
    made = np.empty_like(ours)

    def some(numbers: range) -> None:
        for number in numbers:
            made[number] = kernel(ours[number], theirs[number], *bounds, least)

    in_threads(some, len(ours))
    return _framed(made, frame)


def _plain(frame: pd.DataFrame) -> Table:
    """Windows × bars; pandas counts what is infinite as missing."""
    table = np.ascontiguousarray(frame.to_numpy().T, dtype=np.float64)
    finite = ~np.isinf(table)
    return table if finite.all() else np.where(finite, table, np.nan)


def _framed(table: Table, like: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(table.T, index=like.index, columns=like.columns, copy=False)
