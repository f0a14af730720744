"""Candles of some symbols on the grid of their bars: `bars` as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "Grid"]

Array = npt.NDArray[Any]


@dataclass(slots=True)
class Grid:
    """`columns` by name, each (bars, symbols) float64: NaN is null, as where the candle is missing.

    `symbols` are in order, `opens` are the open times of all bars in milliseconds, those of the look-back first.
    `there`: whether there is a candle, (bars, symbols).
    """

    symbols: tuple[str, ...]
    opens: npt.NDArray[np.int64]
    columns: dict[str, Array]
    there: npt.NDArray[np.bool_]
