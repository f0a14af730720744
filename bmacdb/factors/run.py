"""Factors over a grid: one function, whatever way they are computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from bmacdb.factors.bind import Bound
from bmacdb.factors.compile import compile_factors
from bmacdb.factors.duck import on_duckdb
from bmacdb.factors.fast import prepared, run_program
from bmacdb.factors.grid import Array, Grid

__all__ = ["compute", "way"]


def compute(
    bounds: Sequence[Bound], grid: Grid, first: int, tables: Mapping[str, pa.Table], into: Sequence[Array]
) -> None:
    """Each factor at the bars of `grid` from `first` on into an array (bars, symbols) of float64.

    NaN is null, and nothing is infinite; where a candle is missing, a value means nothing. `tables` are those of the
    feed that whole queries read (`query.tables_of`).
    """
    ways = prepared(bounds)
    for places, program in ways.programs:
        run_program(program, grid.columns, first, [into[place] for place in places])
    if ways.beyond:
        rest = on_duckdb([bounds[place] for place in ways.beyond], grid, first, tables)
        for place, values in zip(ways.beyond, rest, strict=True):
            into[place][...] = values


def way(bound: Bound) -> str:
    """Which way a factor goes: `arrays`, or `DuckDB` and why."""
    _, beyond = compile_factors([bound])
    return f"DuckDB: {beyond[0]} is not computed on arrays" if beyond else "arrays"
