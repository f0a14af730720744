"""Functions of the last bars of a symbol, over blocks of (bars, symbols).

The state of a window is combined out of those of two shorter windows that follow each other: 24 bars out of 16 and 8,
16 out of 8 and 8. A few operations on whole blocks thereby make the windows of all bars at once, and each of them is
still a function of its own bars alone: in what order they are added depends on the window's length and on nothing
else. So a value is the same, to the last bit, whether it is the only one asked for or one of a year.

A `leaf` makes the state of single bars, a `join` that of two windows, the older first. Where no value is missing a
count is a number, and where all symbols of the block lack the same bars it is a column (bars, 1).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bmacdb.factors.arrays import Parts, chosen, flagged, key, lacking

__all__ = ["TOO_LARGE"]

TOO_LARGE = 1e75
"""A value of that size, or one that is not finite, makes deviations and correlations of its windows null."""


def _narrow(mask: Any) -> Any:
    """None where nothing is True, one column where all columns are alike."""
    if not np.any(mask):
        return None
    if np.ndim(mask) == 2 and (mask == mask[:, :1]).all():
        return mask[:, :1]
    return mask


def nulls(number: Parts) -> Parts:
    """(where it is null,), narrowed."""
    return (_narrow(lacking(number)),)


def pair_nulls(one: Parts, other: Parts) -> Parts:
    """(where either is null,), of what `nulls` gave."""
    if one[0] is None or other[0] is None:
        return other if one[0] is None else one
    return (_narrow(one[0] | other[0]),)


def _filled(data: Any, null: Any, value: float) -> Any:
    return data if null is None else chosen(null, value, data)


def _blank(values: Any, empty: Any) -> Any:
    """`values`, NaN where `empty`."""
    return chosen(empty, np.nan, values) if np.any(empty) else values


# counts


def count_leaf(null: Parts) -> Parts:
    return (1 if null[0] is None else np.subtract(1, null[0], dtype=np.int32),)


def add(older: Parts, newer: Parts) -> Parts:
    return (older[0] + newer[0],)


def count(state: Parts) -> Parts:
    return np.float64(state[0]) if np.ndim(state[0]) == 0 else state[0].astype(np.float64), None


# sums and products: (total, whether a NaN may be in it)


def sum_leaf(number: Parts, null: Parts) -> Parts:
    return _filled(number[0], null[0], 0.0), number[1] is not None


def sum_join(older: Parts, newer: Parts) -> Parts:
    total, new = flagged(np.add, older[0], newer[0])
    return total, new or older[1] or newer[1]


def product_leaf(number: Parts, null: Parts) -> Parts:
    return _filled(number[0], null[0], 1.0), number[1] is not None


def product_join(older: Parts, newer: Parts) -> Parts:
    total, new = flagged(np.multiply, older[0], newer[0])
    return total, new or older[1] or newer[1]


def total(state: Parts, counted: Parts) -> Parts:
    """The sum or product; null of nothing."""
    return _settled(state[0], np.equal(counted[0], 0), state[1])


def average(state: Parts, counted: Parts) -> Parts:
    empty = np.equal(counted[0], 0)
    return _settled(state[0] / np.maximum(counted[0], 1), empty, state[1])


def _settled(values: Any, empty: Any, suspect: bool) -> Parts:
    """A number that is null where `empty`."""
    nan = None
    if suspect:
        nan = np.isnan(values) & ~empty
        nan = nan if nan.any() else None
    return _blank(values, empty), nan


# extremes: (the extreme of what is neither null nor NaN, where a NaN is)


def extreme_leaf(number: Parts) -> Parts:
    return number


def lowest_join(older: Parts, newer: Parts) -> Parts:
    return np.fmin(older[0], newer[0]), any_join(older[1:], newer[1:])[0]


def highest_join(older: Parts, newer: Parts) -> Parts:
    return np.fmax(older[0], newer[0]), any_join(older[1:], newer[1:])[0]


def lowest(state: Parts) -> Parts:
    """NaN only where nothing else is."""
    return state[0], None if state[1] is None else state[1] & np.isnan(state[0])


def highest(state: Parts) -> Parts:
    """NaN is greater than all else."""
    return (state[0] if state[1] is None else np.where(state[1], np.nan, state[0])), state[1]


def any_join(older: Parts, newer: Parts) -> Parts:
    """(where anything is True,); None is nowhere."""
    if older[0] is None or newer[0] is None:
        return newer if older[0] is None else older
    return (older[0] | newer[0],)


# the newest, the oldest that is not null


def newest_join(older: Parts, newer: Parts) -> Parts:
    null = lacking(newer)
    if not np.any(null):
        return newer
    nan = None
    if older[1] is not None or newer[1] is not None:
        nan = np.where(null, False if older[1] is None else older[1], False if newer[1] is None else newer[1])
    return np.where(null, older[0], newer[0]), nan


def oldest_join(older: Parts, newer: Parts) -> Parts:
    return newest_join(newer, older)


# the place of an extreme: (its key, how many bars before it in the window)


def place_leaf(number: Parts, negative: bool) -> Parts:
    data = key(number)
    return (-data if negative else data), 0.0


def place_join(older: Parts, newer: Parts, length: int) -> Parts:
    """`length`: bars of the older window. Of equals the oldest."""
    later = newer[0] > older[0]
    later |= np.isnan(older[0])
    return np.where(later, newer[0], older[0]), np.where(later, newer[1] + length, older[1])


def place(state: Parts) -> Parts:
    return _blank(state[1] + 1.0, np.isnan(state[0])), None


# the largest fall: (the highest, the lowest, the largest fall from a value to a later one), what is null left out


def fall_leaf(number: Parts) -> Parts:
    data = number[0]
    return data, data, np.where(np.isnan(data), np.nan, 0.0)


def fall_join(older: Parts, newer: Parts) -> Parts:
    fall = np.fmax(np.fmax(older[2], newer[2]), 1 - newer[1] / older[0])
    return np.fmax(older[0], newer[0]), np.fmin(older[1], newer[1]), fall


def drawdown(state: Parts) -> Parts:
    return state[2], None


# ranks


def rank(window: Parts, length: int) -> Parts:
    """The mean rank of the last bar among the `length` bars before and at each; its data begin `length` - 1 earlier."""
    values = key(window)
    if np.ndim(values) == 0:
        return _blank((length + 1) / 2, np.isnan(values)), None
    bars = len(values) - length + 1
    here = values[length - 1 :]
    smaller = np.zeros(here.shape, dtype=np.int32)  # twice, so that an equal counts as half
    if bars < length:
        for row in range(bars):
            window = values[row : row + length]
            smaller[row] = np.sum(window < here[row], axis=0) + np.sum(window <= here[row], axis=0)
    else:
        for back in range(length):
            there = values[back : back + bars]
            smaller += there < here
            smaller += there <= here
    return _blank((smaller + 1) / 2, np.isnan(here)), None


# weighted sums: (total,), null where any value is


def linear_leaf(number: Parts) -> Parts:
    return number[0], number[0]


def linear_join(older: Parts, newer: Parts, length: int) -> Parts:
    """(the sum, the sum with weights 1, 2 … from the oldest); `length`: bars of the older window."""
    return older[0] + newer[0], older[1] + newer[1] + newer[0] * length


def linear(state: Parts, null: Parts, length: int) -> Parts:
    return _every(state[1] / (length * (length + 1) / 2), null)


def decayed_leaf(number: Parts) -> Parts:
    return (number[0],)


def decayed_join(older: Parts, newer: Parts, factor: float) -> Parts:
    """The sum with weights 1, r, r² … from the newest; `factor`: r to the power of the newer window's bars."""
    return (older[0] * factor + newer[0],)


def smoothed(first: Parts, rest: Parts, null: Parts, unsound: Parts, weight: float, kept: float) -> Parts:
    """`weight` times the decayed sum `rest`, and `kept` times what it began with.

    Recursion over a value that is not finite gives NaN from the bar after it on (inf + a * (x - inf)).
    """
    data = rest[0] * weight + first[0] * kept
    return _every(data if unsound[0] is None else np.where(unsound[0], np.nan, data), null)


def _every(data: Any, null: Parts) -> Parts:
    """A number that is null where `null`, and NaN where it is NaN otherwise."""
    missing = np.isnan(data)
    if null[0] is None:
        return data, (missing if np.any(missing) else None)
    nan = missing & ~null[0]
    return chosen(null[0], np.nan, data), (nan if np.any(nan) else None)


# deviations (Chan, Golub and LeVeque 1979; Pébay 2008): equal values have a spread of exactly 0


def unsound(number: Parts, null: Parts, limit: float) -> Parts:
    """(where it is neither null nor smaller than `limit` in size,)"""
    bad = ~(np.abs(number[0]) < limit)
    if null[0] is not None:
        bad &= ~null[0]
    return (_narrow(bad),)


def moment_leaf(number: Parts, null: Parts, bad: Parts) -> Parts:
    """(mean, sum of squared distances from it)"""
    return _filled(_filled(number[0], null[0], 0.0), bad[0], 0.0), 0.0


def _share(first: Any, second: Any) -> Any:
    return second / np.maximum(first + second, 1)


def moment_join(older: Parts, newer: Parts, counts: Parts, more: Parts) -> Parts:
    """`counts`, `more`: how many values are in the older and in the newer window."""
    share = _share(counts[0], more[0])
    away = newer[0] - older[0]
    middle = away * share
    middle += older[0]
    away *= away
    away *= counts[0] * share
    return middle, _plus(_plus(away, older[1]), newer[1])


def _plus(total: Any, more: Any) -> Any:
    """`total`, which nobody else holds, plus `more`."""
    if isinstance(more, float) and more == 0.0:
        return total
    total += more
    return total


def pair_leaf(one: Parts, other: Parts, null: Parts, bad: Parts) -> Parts:
    """(mean, mean, sum of squared distances, sum of squared distances, sum of their products)"""
    means = np.broadcast_arrays(moment_leaf(one, null, bad)[0], moment_leaf(other, null, bad)[0])
    return *means, 0.0, 0.0, 0.0


def pair_join(older: Parts, newer: Parts, counts: Parts, more: Parts) -> Parts:
    share = _share(counts[0], more[0])
    weight = counts[0] * share
    away, other = newer[0] - older[0], newer[1] - older[1]
    heavy, heavier = away * weight, other * weight
    middle, centre = away * share, other * share
    middle += older[0]
    centre += older[1]
    away *= heavy
    heavy *= other
    other *= heavier
    return (
        middle,
        centre,
        _plus(_plus(away, older[2]), newer[2]),
        _plus(_plus(other, older[3]), newer[3]),
        _plus(_plus(heavy, older[4]), newer[4]),
    )


def shape_leaf(number: Parts, null: Parts, bad: Parts) -> Parts:
    """(mean, and the sums of the second, third and fourth powers of the distances from it)"""
    return *moment_leaf(number, null, bad), 0.0, 0.0


def shape_join(older: Parts, newer: Parts, counts: Parts, more: Parts) -> Parts:
    first, second = counts[0], more[0]
    size = np.maximum(first + second, 1)
    mean, two, three, four = older
    other, two_more, three_more, four_more = newer
    away = other - mean
    step = away / size
    squares = step * step
    product = away * step * first * second
    crossed = step * (first * two_more - second * two)
    return (
        mean + step * second,
        two + two_more + product,
        three + three_more + product * step * (first - second) + 3.0 * crossed,
        four
        + four_more
        + product * squares * (first * first - first * second + second * second)
        + 6.0 * squares * (first * first * two_more + second * second * two)
        + 4.0 * step * (first * three_more - second * three),
    )


def variance(state: Parts, counted: Parts, bad: Parts, ddof: int) -> Parts:
    number = counted[0]
    values = _wide(state[1] / np.maximum(number - ddof, 1), state[0])
    few = np.less_equal(number, ddof)
    return _blank(values, few if bad[0] is None else few | bad[0]), None


def deviation(state: Parts, counted: Parts, bad: Parts, ddof: int) -> Parts:
    return np.sqrt(variance(state, counted, bad, ddof)[0]), None


def _wide(values: Any, like: Any) -> Any:
    return np.zeros_like(like) + values if np.ndim(values) == 0 and np.ndim(like) else values


def _sound(values: Any, few: Any, bad: Parts) -> Parts:
    """A number, null where there are too few values or one of them is unsound, NaN where it is NaN otherwise."""
    null = few if bad[0] is None else few | bad[0]
    nan = np.isnan(values) & ~null
    return _blank(values, null), (nan if np.any(nan) else None)


def correlation(state: Parts, counted: Parts, bad: Parts) -> Parts:
    """NaN of a constant."""
    _, _, one, other, product = state
    number = np.maximum(counted[0], 1)
    deviations = np.sqrt(one / number) * np.sqrt(other / number)
    return _sound(_wide(product / number / deviations, state[0]), np.equal(counted[0], 0), bad)


def covariance(state: Parts, counted: Parts, bad: Parts, ddof: int) -> Parts:
    values = state[4] / np.maximum(counted[0] - ddof, 1)
    return _sound(_wide(values, state[0]), np.less_equal(counted[0], ddof), bad)


def slope(state: Parts, counted: Parts, bad: Parts) -> Parts:
    """Of the first on the second; NaN where the second is constant."""
    number = np.maximum(counted[0], 1)
    values = (state[4] / number) / (state[3] / number)
    return _sound(_wide(values, state[0]), np.equal(counted[0], 0), bad)


def skewness(state: Parts, counted: Parts, bad: Parts) -> Parts:
    """NaN of equal values, null of fewer than three."""
    _, two, three, _ = state
    number = counted[0]
    many = np.maximum(number, 3)
    second, third = two / many, three / many
    values = np.sqrt(many * (many - 1.0)) / (many - 2.0) * third / np.sqrt(second * second * second)
    return _sound(_wide(values, state[0]), np.less(number, 3), bad)


def kurtosis(state: Parts, counted: Parts, bad: Parts) -> Parts:
    """Null of equal values, and of fewer than four."""
    _, two, _, four = state
    number = counted[0]
    many = np.maximum(number, 4)
    second, fourth = two / many, four / many
    values = (many - 1.0) * ((many + 1.0) * fourth / (second * second) - 3.0 * (many - 1.0))
    values = values / ((many - 2.0) * (many - 3.0))
    return _sound(_wide(values, state[0]), np.less(number, 4) | np.equal(_wide(two, state[0]), 0), bad)
