"""Rolling windows for factors in Python, computed each for itself.

Values of pandas' own `rolling` and `ewm` carry the rounding of every row before them, so the value at a run time would
depend on where the frame begins. Here a row's value is a function of its window alone, and is therefore the same,
to the last bit, in a live frame and in one of a year. NaN is what is missing; a value that is not finite counts as
missing too. All windows are (rows, n) arrays, the oldest element first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = [
    "Array",
    "divide",
    "ewm",
    "ewm_path",
    "flat",
    "highest",
    "lowest",
    "mean",
    "since",
    "std",
    "stochastic",
    "total",
    "true_range",
    "wilder",
    "windows",
]

Array = npt.NDArray[np.float64]


def windows(values: Any, n: int) -> Array:
    """The last `n` elements at each row; NaN before the first row."""
    array = np.asarray(values, dtype=np.float64)
    padded = np.concatenate([np.full(n - 1, np.nan), np.where(np.isfinite(array), array, np.nan)])
    # Contiguous, so that each row is summed in the same order however many rows there are.
    return np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(padded, n))


def divide(above: Any, below: Any) -> Array:
    """above / below, NaN where that is not finite."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        quotient = np.asarray(above, dtype=np.float64) / np.asarray(below, dtype=np.float64)
    return np.where(np.isfinite(quotient), quotient, np.nan)


def _count(window: Array) -> npt.NDArray[np.int64]:
    return np.asarray(np.count_nonzero(~np.isnan(window), axis=1), dtype=np.int64)


def total(window: Array) -> Array:
    """Sum of what is there; NaN where nothing is."""
    return np.where(_count(window) > 0, np.where(np.isnan(window), 0.0, window).sum(axis=1), np.nan)


def mean(window: Array) -> Array:
    """Mean of what is there; NaN where nothing is."""
    return divide(total(window), _count(window))


def flat(window: Array) -> npt.NDArray[np.bool_]:
    """Whether all that is there is equal."""
    return np.asarray(lowest(window) == highest(window))


def std(window: Array, ddof: int) -> Array:
    """Standard deviation of what is there, 0 of equal values; NaN for `ddof` values or fewer."""
    away = window - mean(window)[:, None]
    squares = divide(total(away * away), _count(window) - ddof)
    deviation = np.sqrt(np.where(flat(window) & (_count(window) > ddof), 0.0, squares))
    return np.where(_count(window) > ddof, deviation, np.nan)


def highest(window: Array) -> Array:
    """Maximum of what is there; NaN where nothing is."""
    return np.asarray(np.fmax.reduce(window, axis=1))


def lowest(window: Array) -> Array:
    """Minimum of what is there; NaN where nothing is."""
    return np.asarray(np.fmin.reduce(window, axis=1))


def since(window: Array, value: Array) -> Array:
    """Position of the first element equal to `value` of its row, from 0."""
    return np.asarray(np.argmax(window == value[:, None], axis=1), dtype=np.float64)


def ewm_path(window: Array, alpha: float) -> Array:
    """x = first element, then x + alpha * (element - x): after each element of the window."""
    path = np.empty_like(window)
    path[:, 0] = window[:, 0]
    for column in range(1, window.shape[1]):
        path[:, column] = path[:, column - 1] + alpha * (window[:, column] - path[:, column - 1])
    return path


def ewm(window: Array, alpha: float) -> Array:
    """pandas' `ewm(alpha=…, adjust=False).mean()` of each window, at its last element."""
    return ewm_path(window, alpha)[:, -1].copy()


def wilder(window: Array, n: int) -> Array:
    """Mean of the first `n` elements, then (x * (n - 1) + element) / n for each of the others."""
    value = mean(np.ascontiguousarray(window[:, :n]))
    for column in range(n, window.shape[1]):
        value = (value * (n - 1) + window[:, column]) / n
    return value


def true_range(df: pd.DataFrame) -> Array:
    """max(high - low, |high - previous close|, |low - previous close|); without a previous close, high - low."""
    high, low, before = df["high"].to_numpy(), df["low"].to_numpy(), df["close"].shift(1).to_numpy()
    return np.asarray(np.fmax(np.fmax(high - low, np.abs(high - before)), np.abs(low - before)))


def stochastic(df: pd.DataFrame, n: int) -> tuple[Array, Array]:
    """K and D of the last 40 RSV: K moves a third of the way to RSV, then D to K; a flat bar moves nothing."""
    high, low = highest(windows(df["high"], n)), lowest(windows(df["low"], n))
    rsv = windows(divide(100 * (df["close"].to_numpy() - low), high - low), 40)
    k, d = rsv[:, 0].copy(), rsv[:, 0].copy()
    for column in range(1, 40):
        value = rsv[:, column]
        fresh = np.isnan(k)
        moved = np.where(fresh, value, k + (value - k) / 3)
        followed = np.where(fresh, value, d + (moved - d) / 3)
        there = ~np.isnan(value)
        k, d = np.where(there, moved, k), np.where(there, followed, d)
    return k, d
