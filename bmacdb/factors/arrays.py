"""Numbers and truths over blocks of (bars, symbols), with DuckDB's meaning of null, NaN and infinity.

What is computed at a node of a program is a tuple of parts: arrays of (bars, symbols) or (bars, 1), or scalars.

    number   (data, nan)         data is NaN where the value is null or NaN; `nan` is True where it is NaN and not null,
                                 or None where it never is, which is nearly always
    truth    (yes, no)           where it is true, where it is false; null elsewhere

A NaN that is new is told by the processor: its flag of invalid operations is raised by 0 / 0 or inf - inf, and not by
a NaN that is handed on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

__all__ = ["Parts", "chosen", "flagged", "key", "lacking", "quietly"]

Parts = tuple[Any, ...]

_flag = threading.local()
_LARGEST = np.finfo(np.float64).max


def _raised(_error: str, _flags: int) -> None:
    _flag.invalid = True


@contextmanager
def quietly() -> Iterator[None]:
    """Computing without warnings; `flagged` works within."""
    with np.errstate(all="ignore", invalid="call", call=_raised):
        yield


def flagged(work: Callable[..., Any], *arguments: Any) -> tuple[Any, bool]:
    """The result, and whether a NaN may have come up that was in none of the arguments."""
    _flag.invalid = False
    return work(*arguments), _flag.invalid


def lacking(number: Parts) -> Any:
    """Where it is null."""
    data, nan = number
    missing = np.isnan(data)
    return missing if nan is None else missing & ~nan


def key(number: Parts) -> Any:
    """Numbers in DuckDB's order: NaN becomes inf, inf the largest number; NaN where it is null."""
    data, nan = number
    if nan is None:
        return data
    return np.where(nan, np.inf, np.clip(data, -_LARGEST, _LARGEST))


def chosen(where: Any, one: Any, other: Any) -> Any:
    """numpy.where, which takes three times as long as a copy and its mended rows where a mask is of whole rows."""
    if np.ndim(where) != 2 or where.shape[1] != 1 or np.shape(one) == np.shape(other):
        return np.where(where, one, other)
    rows = where[:, 0]
    if np.ndim(other) == 2 and np.ndim(one) == 0:
        data = other.copy()
        data[rows] = one
    elif np.ndim(one) == 2 and np.ndim(other) == 0:
        data = one.copy()
        data[~rows] = other
    else:
        data = np.where(where, one, other)
    return data


def _some(nan: Any) -> Any:
    return nan if np.any(nan) else None


# numbers out of numbers


def binary(one: Parts, other: Parts, work: Callable[[Any, Any], Any]) -> Parts:
    """`+`, `-`, `*`, `/`: null where either is."""
    data, new = flagged(work, one[0], other[0])
    if not new and one[1] is None and other[1] is None:
        return data, None
    return data, _some(np.isnan(data) & ~lacking(one) & ~lacking(other))


def unary(one: Parts, work: Callable[[Any], Any]) -> Parts:
    """A function that makes no new NaN."""
    return work(one[0]), one[1]


def power(base: Parts, exponent: Parts) -> Parts:
    if np.ndim(exponent[0]) == 0 and exponent[0] == 2:
        return base[0] * base[0], base[1]
    null = lacking(base) | lacking(exponent)
    data = np.power(base[0], exponent[0])
    if np.any(null):
        data = chosen(null, np.nan, data)  # 1 ** null, null ** 0
    return data, _some(np.isnan(data) & ~null)


def logarithm(one: Parts, work: Callable[[Any], Any]) -> Parts:
    """Null of 0 and less, where DuckDB raises an error and the language asks for null."""
    data = work(one[0])
    zero = one[0] == 0
    return (np.where(zero, np.nan, data) if np.any(zero) else data), one[1]


def sign(one: Parts) -> Parts:
    data = np.sign(one[0])
    return (data if one[1] is None else np.where(one[1], 0.0, data)), None


def rounded(one: Parts, digits: int) -> Parts:
    """Halves away from zero; what is too large to be scaled stays as it is."""
    scale = 10.0 ** abs(digits)
    scaled = one[0] * scale if digits >= 0 else one[0] / scale
    whole = np.rint(scaled)
    half = np.abs(scaled - whole) == 0.5
    if np.any(half):
        whole = np.where(half, scaled + np.copysign(0.5, scaled), whole)
    data = whole / scale if digits >= 0 else whole * scale
    return np.where(np.isfinite(data), data, one[0] if digits >= 0 else data * 0), one[1]


def greatest(one: Parts, other: Parts) -> Parts:
    """Nulls are left out; NaN is the greatest."""
    data = np.fmax(one[0], other[0])
    if one[1] is None and other[1] is None:
        return data, None
    nan = (False if one[1] is None else one[1]) | (False if other[1] is None else other[1])
    return np.where(nan, np.nan, data), nan


def least(one: Parts, other: Parts) -> Parts:
    """Nulls are left out; NaN is the greatest."""
    data = np.fmin(one[0], other[0])
    if one[1] is None and other[1] is None:
        return data, None
    nan = (False if one[1] is None else one[1]) | (False if other[1] is None else other[1])
    return data, _some(np.isnan(data) & nan)


def coalesce(one: Parts, other: Parts) -> Parts:
    null = lacking(one)
    return _chosen(null, other, one) if np.any(null) else one


def nullif(one: Parts, other: Parts) -> Parts:
    equal = key(one) == key(other)
    return _chosen(equal, (np.nan, None), one) if np.any(equal) else one


def choice(condition: Parts, one: Parts, other: Parts) -> Parts:
    """CASE WHEN condition THEN one ELSE other END."""
    return _chosen(condition[0], one, other)


def _chosen(where: Any, one: Parts, other: Parts) -> Parts:
    if np.all(where):
        return one
    if not np.any(where):
        return other
    data = chosen(where, one[0], other[0])
    if one[1] is None and other[1] is None:
        return data, None
    return data, np.where(where, False if one[1] is None else one[1], False if other[1] is None else other[1])


def counted(truth: Parts) -> Parts:
    """1 where it is true, 0 where it is false."""
    yes, no = truth
    return np.where(yes, 1.0, np.where(no, 0.0, np.nan)), None


# truths


def compared(one: Parts, other: Parts, work: Callable[[Any, Any], Any], inverse: Callable[[Any, Any], Any]) -> Parts:
    """`<`, `<=`, `>`, `>=`; NaN equals itself and is greater than all else."""
    if one[1] is None and other[1] is None:
        left, right = one[0], other[0]
    else:
        left, right = _with_key(one), _with_key(other)
    return work(left, right), inverse(left, right)


def equal(one: Parts, other: Parts) -> Parts:
    if one[1] is None and other[1] is None:
        left, right = one[0], other[0]
    else:
        left, right = _with_key(one), _with_key(other)
    yes = left == right
    return yes, (left < right) | (left > right)


def _with_key(number: Parts) -> Any:
    """As `key`, for numbers of which another may be NaN."""
    return key((number[0], np.False_ if number[1] is None else number[1]))


def opposite(truth: Parts) -> Parts:
    return truth[1], truth[0]


def both(one: Parts, other: Parts) -> Parts:
    return one[0] & other[0], one[1] | other[1]


def either(one: Parts, other: Parts) -> Parts:
    return one[0] | other[0], one[1] & other[1]


def is_null(number: Parts) -> Parts:
    null = lacking(number)
    return null, ~null


def is_unknown(truth: Parts) -> Parts:
    known = truth[0] | truth[1]
    return ~known, known


def is_nan(number: Parts) -> Parts:
    nan = np.zeros_like(number[0], dtype=bool) if number[1] is None else number[1]
    return nan, ~nan & ~lacking(number)


def is_finite(number: Parts) -> Parts:
    finite = np.isfinite(number[0])
    return finite, ~finite & ~lacking(number)


def is_infinite(number: Parts) -> Parts:
    infinite = np.isinf(number[0])
    return infinite, ~infinite & ~lacking(number)
