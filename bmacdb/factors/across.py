"""Functions of the symbols that have a candle at a bar, over blocks of (bars, symbols) with all symbols.

Sums are taken over the values that are there, in the order of their symbols. So they are the same, to the last bit,
whatever other symbols a range has.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bmacdb.factors.arrays import Parts, key, lacking
from bmacdb.factors.windowed import TOO_LARGE

__all__: list[str] = []


def _wide(number: Parts, close: Parts) -> tuple[Any, Any, Any]:
    """Data, where it is there and where a candle is, all of (bars, symbols)."""
    candle = ~lacking(close)
    data = np.broadcast_to(number[0], candle.shape)
    return data, candle & ~lacking(number), candle


def _at_candles(values: Any, candle: Any) -> Parts:
    return np.where(candle, values, np.nan), None


def _sorted(number: Parts, close: Parts, descending: bool) -> tuple[Any, Any, Any, Any]:
    """(order of the symbols, where a value is new in that order, how many are there, where a candle is)"""
    _, there, candle = _wide(number, close)
    values = np.where(there, -key(number) if descending else key(number), np.nan)
    order = np.argsort(values, axis=1)
    values = np.take_along_axis(values, order, axis=1)
    fresh = np.ones(values.shape, dtype=bool)
    fresh[:, 1:] = values[:, 1:] != values[:, :-1]
    return order, fresh, there.sum(axis=1, keepdims=True), candle


def _ranks(order: Any, placed: Any, number: Any, beyond: Any) -> Any:
    """What is placed in order, back at its symbols; `beyond` for those without a value."""
    placed = np.where(np.arange(order.shape[1]) < number, placed, beyond)
    found = np.empty(order.shape)
    np.put_along_axis(found, order, placed, axis=1)
    return found


def rank(number: Parts, close: Parts, descending: bool) -> Parts:
    """1 for the first; equals have that of the first of them, nulls come last."""
    order, fresh, there, candle = _sorted(number, close, descending)
    places = np.maximum.accumulate(np.where(fresh, np.arange(order.shape[1]), 0), axis=1)
    return _at_candles(_ranks(order, places + 1.0, there, there + 1.0), candle)


def dense_rank(number: Parts, close: Parts, descending: bool) -> Parts:
    order, fresh, there, candle = _sorted(number, close, descending)
    places = np.cumsum(fresh, axis=1)
    last = np.where(there > 0, np.take_along_axis(places, np.maximum(there - 1, 0), axis=1), 0)
    return _at_candles(_ranks(order, places, there, last + 1.0), candle)


def percent_rank(number: Parts, close: Parts, descending: bool) -> Parts:
    """(rank - 1) / (symbols - 1), 0 of a single one."""
    ranks, _ = rank(number, close, descending)
    symbols = (~lacking(close)).sum(axis=1, keepdims=True)
    return (ranks - 1.0) / np.maximum(symbols - 1, 1), None


def count(number: Parts, close: Parts) -> Parts:
    _, there, candle = _wide(number, close)
    return _at_candles(there.sum(axis=1, keepdims=True), candle)


def _row_sums(values: Any, number: Any) -> Any:
    """Of each row's values, which follow each other in `values`; `number`: how many a row has."""
    found = np.zeros((len(number), 1))
    some = np.flatnonzero(number)
    if len(some):
        starts = np.cumsum(number)[some] - number[some]
        found[some, 0] = np.add.reduceat(values, starts)
    return found


def total(number: Parts, close: Parts) -> Parts:
    data, there, candle = _wide(number, close)
    held = there.sum(axis=1)
    return _settled(_row_sums(data[there], held), held, candle)


def average(number: Parts, close: Parts) -> Parts:
    data, there, candle = _wide(number, close)
    held = there.sum(axis=1)
    return _settled(_row_sums(data[there], held) / np.maximum(held, 1)[:, None], held, candle)


def _settled(values: Any, held: Any, candle: Any) -> Parts:
    """Null where nothing is there; NaN where it is NaN otherwise."""
    some = candle & (held > 0)[:, None]
    nan = np.isnan(values) & some
    return np.where(some, values, np.nan), (nan if nan.any() else None)


def lowest(number: Parts, close: Parts) -> Parts:
    return _extreme(number, close, np.inf, np.min)


def highest(number: Parts, close: Parts) -> Parts:
    return _extreme(number, close, -np.inf, np.max)


def _extreme(number: Parts, close: Parts, neutral: float, work: Any) -> Parts:
    data, there, candle = _wide(number, close)
    if number[1] is not None:  # NaN is greater than all else
        data = np.where(number[1], np.inf, data)
        greatest = work(np.where(there & ~number[1], data, neutral), axis=1, keepdims=True)
        nan = (there & number[1]).any(axis=1, keepdims=True)
        only = nan & ~(there & ~number[1]).any(axis=1, keepdims=True)
        values = np.where(only if neutral > 0 else nan, np.nan, greatest)
    else:
        values = work(np.where(there, data, neutral), axis=1, keepdims=True)
    return _settled(values, there.sum(axis=1), candle)


def variance(number: Parts, close: Parts, ddof: int) -> Parts:
    """0 of equal values; null where one is not finite or too large."""
    data, there, candle = _wide(number, close)
    held = there.sum(axis=1)
    values = data[there]
    bad = np.zeros(len(held), dtype=bool)
    unsound = ~(np.abs(values) < TOO_LARGE)
    if unsound.any():
        bad = (there & ~(np.abs(data) < TOO_LARGE)).any(axis=1)
        values = np.where(unsound, 0.0, values)
    some = np.flatnonzero(held)
    starts = np.cumsum(held)[some] - held[some]
    base = np.zeros(len(held))
    base[some] = values[starts]
    values = values - np.repeat(base, held)
    mean = _row_sums(values, held)[:, 0] / np.maximum(held, 1)
    values = values - np.repeat(mean, held)
    spread = _row_sums(values * values, held) / np.maximum(held - ddof, 1)[:, None]
    return np.where(candle & ((held > ddof) & ~bad)[:, None], spread, np.nan), None


def deviation(number: Parts, close: Parts, ddof: int) -> Parts:
    return np.sqrt(variance(number, close, ddof)[0]), None
