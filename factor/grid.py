"""Candles of some symbols on the grid of their bars, and what is aggregated over windows of it.

A window's aggregate is combined out of those of shorter windows, 24 bars out of 16 and 8, 16 out of 8 and 8. So a few
additions of whole arrays make the windows of all run times at once, and each of them is still a function of its own
bars alone: in what order they are added depends on the window's length and on nothing else. That makes a value the
same, to the last bit, whether it is the only one or one of a year.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from bmacdb.factor.expression import Beyond, Unsupported

__all__ = ["AGGREGATES", "Array", "Grid", "aggregate"]

Array = npt.NDArray[Any]
State = tuple[Any, ...]
"""Arrays, or numbers where all elements are alike."""


def _total(values: Array) -> State:
    """(number of elements, their sum)"""
    missing = np.isnan(values)
    return (~missing * 1.0, np.where(missing, 0.0, values)) if missing.any() else (1, values)


def _totals(older: State, newer: State) -> State:
    return older[0] + newer[0], older[1] + newer[1]


def _moment(values: Array) -> State:
    """(number of elements, their mean, the sum of their squared distances from it)"""
    return *_total(values), 0.0


def _moments(older: State, newer: State) -> State:
    """Chan, Golub and LeVeque (1979): equal elements have a spread of exactly 0."""
    (first, mean, spread), (second, other, more) = older, newer
    count = first + second
    share = second / np.maximum(count, 1)
    away = other - mean
    middle = away * share
    middle += mean
    away *= away
    away *= first * share
    away += spread
    away += more
    return count, middle, away


def _deviation(state: State, ddof: int, root: Callable[[Any], Any]) -> Any:
    count, _, spread = state
    return root(np.where(np.greater(count, ddof), spread / np.maximum(count - ddof, 1), np.nan))


_TOTAL = "total", _total, _totals
_MOMENT = "moment", _moment, _moments
_LOWEST = "lowest", lambda values: (values,), lambda older, newer: (np.fmin(older[0], newer[0]),)
_HIGHEST = "highest", lambda values: (values,), lambda older, newer: (np.fmax(older[0], newer[0]),)

Kind = tuple[str, Callable[[Array], State], Callable[[State, State], State]]
"""A name, the state of single elements, and that of two windows that follow each other."""

AGGREGATES: Mapping[str, tuple[Kind, Callable[[State], Any]]] = {
    "list_count": (_TOTAL, lambda state: state[0]),
    "list_sum": (_TOTAL, lambda state: np.where(np.greater(state[0], 0), state[1], np.nan)),
    "list_avg": (_TOTAL, lambda state: np.divide(state[1], state[0])),
    "list_min": (_LOWEST, lambda state: state[0]),
    "list_max": (_HIGHEST, lambda state: state[0]),
    "list_var_samp": (_MOMENT, lambda state: _deviation(state, 1, np.asarray)),
    "list_var_pop": (_MOMENT, lambda state: _deviation(state, 0, np.asarray)),
    "list_stddev_samp": (_MOMENT, lambda state: _deviation(state, 1, np.sqrt)),
    "list_stddev_pop": (_MOMENT, lambda state: _deviation(state, 0, np.sqrt)),
}
"""The aggregates of lists by name: what is missing is left out, and null is made of nothing, as in DuckDB."""


def aggregate(name: str, elements: Any) -> Any:
    """The aggregate of a list that is no window, element after element."""
    (_, leaf, combine), finish = AGGREGATES[name]
    return finish(reduce(combine, map(leaf, elements)))


class Grid:
    """Columns of float64 by name, each (bars, symbols): NaN where the candle is missing, or its value is not finite."""

    def __init__(self, columns: Mapping[str, Array]) -> None:
        self.columns = dict(columns)
        self.bars, self.symbols = next(iter(columns.values())).shape
        self._states: dict[tuple[str, str, int], State] = {}
        self._hole: Array | None = None

    def back(self, name: str, bars: int, first: int) -> Array:
        """The column as of `bars` earlier, at the bars from `first` on; NaN before the first of all."""
        column = self.columns[name]
        if bars < 0:
            raise Unsupported("a place in the future")
        if bars <= first:
            return column[first - bars : self.bars - bars]
        before = np.full((min(bars, self.bars) - first, self.symbols), np.nan)
        return np.concatenate([before, column[: max(self.bars - bars, 0)]])

    def window(self, aggregate: str, name: str, oldest: int, newest: int, first: int) -> Any:
        """The aggregate of the column from `oldest` to `newest` bars back, at the bars from `first` on."""
        if newest < 0 or oldest < newest:
            raise Unsupported("a window that is empty")
        if oldest > first:
            raise Beyond("a window that reaches beyond the bars that are read")
        kind, finish = AGGREGATES[aggregate]
        low = first - oldest
        high = low + self.bars - first
        state = self._state(name, kind, oldest - newest + 1)
        return finish(tuple(part[low:high] if isinstance(part, np.ndarray) else part for part in state))

    def _state(self, name: str, kind: Kind, length: int) -> State:
        """Of the windows of that length, the first ending at bar `length - 1`."""
        key = name, kind[0], length
        if key not in self._states:
            _, leaf, combine = kind
            if length == 1:
                self._states[key] = leaf(self.columns[name])
            else:
                half = 1 << (length - 1).bit_length() - 1
                windows = self.bars - length + 1
                older, newer = self._state(name, kind, half), self._state(name, kind, length - half)
                self._states[key] = combine(
                    tuple(part[:windows] if isinstance(part, np.ndarray) else part for part in older),
                    tuple(part[half:] if isinstance(part, np.ndarray) else part for part in newer),
                )
        return self._states[key]

    def whole(self, bars: int, first: int) -> Array:
        """Whether no candle is missing of the last `bars`, at the bars from `first` on."""
        places = np.arange(self.bars)[:, None]
        if self._hole is None:
            missing = np.isnan(self.columns["close"])
            self._hole = np.maximum.accumulate(np.where(missing, places, -1), axis=0)
        return np.asarray((places - self._hole >= bars)[first:])
