"""Factors over a grid, computed by DuckDB in this process: the meaning of the language, and the way for all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bmacdb.errors import UsageError
from bmacdb.factors.bind import Bound
from bmacdb.factors.call import spell
from bmacdb.factors.columns import BARS_COLUMNS
from bmacdb.factors.grid import Array, Grid
from bmacdb.factors.statement import chain, ctes, stamp
from bmacdb.sql import script

__all__ = ["check", "on_duckdb"]


@cache
def _scratch() -> duckdb.DuckDBPyConnection:
    """A database with the tables of a feed, all empty, that sees no files: take a cursor."""
    connection = duckdb.connect(":memory:")
    connection.execute(script("feed"))
    connection.execute("SET TimeZone = 'UTC'; SET enable_external_access = false")
    return connection


def on_duckdb(bounds: Sequence[Bound], grid: Grid, first: int, tables: Mapping[str, pa.Table]) -> list[Array]:
    """Each factor at the bars of `grid` from `first` on, (bars, symbols); NaN is null.

    `tables`: those of the feed that whole queries read. Raises UsageError where DuckDB refuses a factor.
    """
    with _scratch().cursor() as cursor:
        cursor.register("grid_bars", _bars(grid, {name for bound in bounds for name in bound.columns}))
        for name, table in tables.items():
            cursor.register(f"grid_{name}", table)
        return [_placed(bound, grid, first, _asked(cursor, bound, tables, int(grid.opens[first]))) for bound in bounds]


def check(bound: Bound) -> None:
    """Raise UsageError, with DuckDB's reason, where DuckDB refuses the factor: it is tried on no candle at all."""
    grid = Grid((), np.zeros(1, dtype=np.int64), {}, np.zeros((1, 0), dtype=bool))
    on_duckdb([bound], grid, 0, {})


def _bars(grid: Grid, names: set[str]) -> pa.Table:
    """The grid as rows, symbol after symbol; columns that no factor reads are null, and cost nothing."""
    bars, symbols = grid.there.shape
    numbers = pa.array(np.repeat(np.arange(symbols, dtype=np.int32), bars))
    columns = {
        "symbol": pa.DictionaryArray.from_arrays(numbers, pa.array(grid.symbols, pa.string())),
        "open_time": pa.array(np.tile(grid.opens.astype("datetime64[ms]"), symbols), pa.timestamp("us", "UTC")),
    }
    for name in BARS_COLUMNS[2:]:
        if name in names | {"close"} and name in grid.columns:
            values = grid.columns[name].T.ravel()
            columns[name] = pa.array(values, mask=np.isnan(values))
        else:
            columns[name] = pa.nulls(bars * symbols, pa.float64())
    return pa.table(columns)


def _asked(cursor: duckdb.DuckDBPyConnection, bound: Bound, tables: Mapping[str, pa.Table], since_ms: int) -> pa.Table:
    parts = [("bars", "FROM grid_bars"), *((name, f"FROM grid_{name}") for name in tables)]
    text = chain([*parts, *ctes(bound)], f"open_time >= {stamp(since_ms)}", query=bound.query is not None)
    try:
        return cursor.execute(text).to_arrow_table()
    except duckdb.Error as exc:
        reason = " ".join(str(exc).split("\n\nLINE")[0].split())
        raise UsageError(f"factor {spell(bound.call)}: DuckDB refuses it: {reason}.") from exc


def _placed(bound: Bound, grid: Grid, first: int, found: pa.Table) -> Array:
    values = np.full((len(grid.opens) - first, len(grid.symbols)), np.nan)
    if found.num_rows:
        column = pc.index_in(found.column("symbol"), pa.array(grid.symbols, pa.string())).to_numpy()
        times = found.column("open_time").cast(pa.timestamp("ms", "UTC")).cast(pa.int64()).to_numpy()
        row = np.searchsorted(grid.opens, times) - first
        if bound.query is not None and len(np.unique(row * len(grid.symbols) + column)) < len(row):
            raise UsageError(
                f"factor {spell(bound.call)}: its query gives a symbol several rows at one open_time. What it joins "
                "must have one row a symbol, as with GROUP BY symbol."
            )
        values[row, column] = found.column("value").to_numpy()
    return values
