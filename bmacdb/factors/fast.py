"""Programs of factors over a grid of candles, in tiles that stay near the processor, several at a time.

A tile is some symbols over all bars, or, where a factor needs the whole market, all symbols over some bars.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from bmacdb.factors.arrays import Parts, quietly
from bmacdb.factors.bind import Bound
from bmacdb.factors.compile import compile_factors
from bmacdb.factors.program import Program

__all__ = ["Ways", "prepared", "run_program"]

Array = npt.NDArray[Any]

_CELLS = 1 << 17
"""Bars times symbols of a tile."""

_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Ways:
    """How factors are computed: programs, each with the places of its factors, and why DuckDB computes the others."""

    programs: tuple[tuple[tuple[int, ...], Program], ...]
    beyond: Mapping[int, str]


def prepared(bounds: Sequence[Bound]) -> Ways:
    """The programs of these factors, compiled once for these very objects."""
    wanted = tuple(map(id, bounds))
    for known, _, ways in _kept:
        if known == wanted:
            return ways
    programs: list[tuple[tuple[int, ...], Program]] = []
    beyond: dict[int, str] = {}
    for across in (False, True):
        places = tuple(place for place, bound in enumerate(bounds) if bound.across is across)
        program, without = compile_factors([bounds[place] for place in places])
        beyond |= {places[number]: reason for number, reason in without.items()}
        if program.outputs:
            programs.append((tuple(place for place in places if place not in beyond), program))
    ways = Ways(tuple(programs), beyond)
    _kept.append((wanted, tuple(bounds), ways))
    return ways


_kept: deque[tuple[tuple[int, ...], tuple[Bound, ...], Ways]] = deque(maxlen=16)
"""The factors are held, so that their ids stay theirs."""


def run_program(
    program: Program,
    columns: Mapping[str, Array],
    first: int,
    into: Sequence[Array],
    *,
    cells: int = _CELLS,
    threads: int = _CORES,
) -> None:
    """The factors from the bar `first` on, each into a (bars, symbols): NaN where it is null or not finite.

    `columns`: (bars, symbols), NaN where null; there must be `program.lookback` bars up to the first one asked for. How
    the work is cut changes no value.
    """
    bars, symbols = columns["close"].shape
    if not symbols:
        return
    if first + 1 < program.lookback:
        raise ValueError(f"{first} bars before the first one, and {program.lookback - 1} are needed")

    _keep_memory()

    def tile(low: int, high: int, left: int, right: int) -> None:
        found = _values(program, columns, low, high, left, right)
        for result, (data, _) in zip(into, found, strict=True):
            infinite = np.isinf(data)
            if infinite.any():
                data = np.where(infinite, np.nan, data)
            result[low - first : high - first, left:right] = data

    if program.across:
        height = max(cells // max(symbols, 1), 2 * program.lookback)
        tiles = [(low, min(low + height, bars), 0, symbols) for low in range(first, bars, height)]
    else:
        number = max(-(-symbols * (bars - first + program.lookback) // cells), 1)
        number = -(-number // threads) * threads if number > 1 else 1  # as many for each of them
        width = max(-(-symbols // number), 1)
        tiles = [(first, bars, left, min(left + width, symbols)) for left in range(0, symbols, width)]
    if len(tiles) == 1 or threads == 1:
        for one in tiles:
            tile(*one)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda one: tile(*one), tiles))


@cache
def _keep_memory() -> None:
    """Let the C library keep what is freed here: it takes the size of the largest piece that it once gave back to the
    system for a hint. Else the same pages go and come again, a third of the time of many factors at one run time."""
    np.empty(30 << 20, dtype=np.uint8)


def _values(program: Program, columns: Mapping[str, Array], low: int, high: int, left: int, right: int) -> list[Parts]:
    """The value of each factor at the bars from `low` to `high` of the symbols from `left` to `right`."""
    values: list[Any] = []
    with quietly():
        for step in program.steps:
            node = step.node
            if node.work is not None:
                given = [_cut(values[kid], early, late) for kid, early, late in step.kids]
                values.append(node.work(*given, *node.constants))
            elif node.column:
                # Contiguous, so that functions take the same way whatever the tile.
                part = columns[node.column][low - step.rows : high, left:right]
                values.append((np.ascontiguousarray(part), None))
            else:
                values.append(node.parts)
            for kid in step.spent:
                values[kid] = None
    return [_cut(values[number], early, late) for number, early, late in program.outputs]


def _cut(parts: Parts, early: int, late: int) -> Parts:
    """Without the first `early` rows and the last `late`."""
    if not early and not late:
        return parts
    return tuple(
        [part[early : len(part) - late] if isinstance(part, np.ndarray) and part.ndim == 2 else part for part in parts]
    )
