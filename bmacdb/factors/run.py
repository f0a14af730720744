"""Factors over a grid: one function, whatever way they are computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from bmacdb.factors.bind import Bound
from bmacdb.factors.duck import on_duckdb
from bmacdb.factors.fast import prepared, run_program
from bmacdb.factors.grid import Array, Grid

__all__ = ["compute"]


def compute(bounds: Sequence[Bound], grid: Grid, first: int, tables: Mapping[str, pa.Table]) -> list[Array]:
    """Each factor at the bars of `grid` from `first` on, (bars, symbols) float64; NaN is null, and nothing is infinite.

    `tables` are those of the feed that whole queries read (`query.tables_of`). Where a candle is missing, a value means
    nothing.
    """
    ways = prepared(bounds)
    found: dict[int, Array] = {}
    for places, program in ways.programs:
        found |= zip(places, run_program(program, grid.columns, first), strict=True)
    if ways.beyond:
        rest = on_duckdb([bounds[place] for place in ways.beyond], grid, first, tables)
        found |= zip(ways.beyond, rest, strict=True)
    return [found[place] for place in range(len(bounds))]
