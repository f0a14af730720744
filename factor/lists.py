"""A factor's expression, computed by DuckDB in this process: the way for what the grid does not understand.

Each value is computed for itself, over lists that hold its look-back and nothing else, so that it is the same to the
last bit whether it is the only one or one of a year. DuckDB's TRY allows nothing in it that looks elsewhere or comes
out otherwise the next time (subqueries, aggregates of rows, windows, random numbers), and makes null of a value that
cannot be computed, as the root of a negative number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache

import duckdb
import numpy as np
import pyarrow as pa

from bmacdb.errors import UsageError
from bmacdb.factor.call import spell
from bmacdb.factor.grid import Array, Grid
from bmacdb.factor.template import OPEN_TIME, Bound

__all__ = ["check_lists", "on_lists", "scratch"]

_AT_ONCE = 2_000_000
"""Elements of a column's lists in one question."""

_AT = re.compile(r"\b(\w+)\[\s*t\s*([-+][^\[\]:]*)?\]")
_NUMBER = re.compile(r"BOOLEAN|U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL\(.*\)")


@cache
def scratch() -> duckdb.DuckDBPyConnection:
    """An empty database that sees no files: take a cursor. To open one takes longer than most of what it computes."""
    return duckdb.connect(":memory:", config={"enable_external_access": "false"})


def on_lists(bound: Bound, grid: Grid, first: int, *, at_once: int = _AT_ONCE) -> Array:
    """The factor at the bars of `grid` from `first` on, as `on_grid` gives it. NaN is null. `at_once` changes no value.

    Raises UsageError for what `check_lists` refuses, or where DuckDB has too little memory.
    """
    found = np.empty((grid.bars - first, grid.symbols))
    bars = max(at_once // (bound.lookback * grid.symbols), 1)
    for low in range(first, grid.bars, bars):
        rows = slice(low - bound.lookback + 1, low + bars)
        part = found[low - first : low - first + bars]
        with _windows(bound, {name: grid.columns[name][rows] for name in _read(bound)}) as cursor:
            answer = cursor.execute(f"SELECT value::DOUBLE AS value FROM ({_statement(bound)})").to_arrow_table()
        part[:] = answer.column("value").to_numpy().reshape(part.shape)
    there = np.isfinite(found)
    return np.where(there & grid.whole(bound.lookback, first) if bound.whole else there, found, np.nan)


def check_lists(bound: Bound) -> None:
    """Raise UsageError, with DuckDB's reason, where DuckDB cannot do it either: it is tried on no value at all."""
    with _windows(bound, {name: np.empty((bound.lookback, 0)) for name in _read(bound)}) as cursor:
        kinds = [str(kind) for _, kind, *_ in cursor.execute(_statement(bound)).description or ()]
    if len(kinds) != 1 or not _NUMBER.fullmatch(kinds[0]):
        raise UsageError(f"factor {spell(bound.call)}: its expression is no number but {', '.join(kinds)}. Cast it.")


def _read(bound: Bound) -> frozenset[str]:
    """The columns that are lists: one at the least, as there is a value for each of its rows."""
    return bound.columns | {"close"}


@contextmanager
def _windows(bound: Bound, columns: Mapping[str, Array]) -> Iterator[duckdb.DuckDBPyConnection]:
    """To ask the table `windows`: rows bar after bar, and in each symbol after symbol, in them a list per column."""
    lists = {}
    for name, column in columns.items():
        elements = np.lib.stride_tricks.sliding_window_view(column, bound.lookback, axis=0).ravel()
        missing = ~np.isfinite(elements)
        if name == OPEN_TIME:
            elements = (np.where(missing, 0, elements) * 1000).astype("datetime64[us]")
        ends = np.arange(0, len(elements) + 1, bound.lookback, dtype=np.int32)
        lists[name] = pa.ListArray.from_arrays(ends, pa.array(elements, mask=missing))
    try:
        with scratch().cursor() as cursor:
            cursor.register("windows", pa.table(lists))
            yield cursor
    except duckdb.Error as exc:
        reason = " ".join(str(exc).split("\n\nLINE")[0].split())
        raise UsageError(
            f"factor {spell(bound.call)}: DuckDB refuses its expression: {reason}. Correct it, or write a module."
        ) from exc


def _statement(bound: Bound) -> str:
    """`value` for each of the `windows`, in their order; series and lets are columns that are made on the way."""
    text = f"SELECT *, {bound.lookback} AS pos FROM windows"
    for name, series in bound.series:
        text = f"SELECT *, {_elements(series, bound.lookback)} AS {name} FROM ({text})"
    for name, let in bound.lets:
        text = f"SELECT *, TRY({let}\n) AS {name} FROM ({text})"
    return f"SELECT TRY({bound.expression}\n) AS value FROM ({text})"


def _elements(text: str, length: int) -> str:
    """A series as one list expression: `close[t] / close[t - 1] - 1` over the lists close and close, one bar later.

    The lists are zipped, because a lambda that reads a list from outside copies the whole of it for each element.
    """
    lists = {"close": "of_t[1]"}

    def element(match: re.Match[str]) -> str:
        name, step = match[1], match[2]
        later = f"-({step})"
        taken = f"list_concat(list_resize({name}[1 : 0], {later}), {name}[1 : {length} - {later}])" if step else name
        return lists.setdefault(taken, f"of_t[{len(lists) + 1}]")

    body = _AT.sub(element, text)
    return (
        f"list_transform(list_transform(list_zip({', '.join(lists)}), lambda of_t, t: TRY(({body}\n)::DOUBLE)),"
        " lambda element: CASE WHEN isfinite(element) THEN element END)"
    )
