"""The windows of the language: `bars`, `last_20` and `market` are there without being declared.

bars     PARTITION BY symbol ORDER BY open_time
last_n   bars ROWS BETWEEN n - 1 PRECEDING AND CURRENT ROW
market   PARTITION BY open_time, close IS NULL: the symbols that have a candle at that bar
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

import duckdb
import sqlglot
from sqlglot import exp

__all__ = ["BARS", "MARKET", "Frame", "clause", "constant", "folded", "frame", "names", "resolved", "spelled"]

BARS = "PARTITION BY symbol ORDER BY open_time"
MARKET = "PARTITION BY open_time, close IS NULL"
_LAST = re.compile(r"last_(\w+)")


def spelled(tree: exp.Expr, *, pretty: bool = False) -> str:
    """The tree as DuckDB reads it."""
    return tree.sql("duckdb", pretty=pretty, comments=False, normalize_functions="lower")


@lru_cache(maxsize=1)
def _scratch() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(":memory:", config={"enable_external_access": "false", "threads": 1})


@lru_cache(maxsize=4096)
def _computed(text: str) -> int:
    with _scratch().cursor() as cursor:
        row = cursor.execute(f"SELECT {text}").fetchone()
    if row is None or not isinstance(row[0], int) or isinstance(row[0], bool):
        raise ValueError(f"{text} is {None if row is None else row[0]}, and must be a whole number")
    return row[0]


def constant(tree: exp.Expr) -> int:
    """The whole number that an expression of numbers is. Raises ValueError."""
    if isinstance(tree, exp.Literal) and tree.is_int:
        return int(tree.this)
    try:
        return _computed(spelled(tree))
    except duckdb.Error:
        raise ValueError(f"{spelled(tree)} is not a number known beforehand") from None


def clause(name: str, parameters: Collection[str] = ()) -> str | None:
    """What stands in the window called `name`; None where there is none. `parameters`: those that are integers."""
    if name in ("bars", "market"):
        return BARS if name == "bars" else MARKET
    if (match := _LAST.fullmatch(name)) is None or not (match[1].isdecimal() or match[1] in parameters):
        return None
    before = int(match[1]) - 1 if match[1].isdecimal() else f"${match[1]} - 1"
    return f"bars ROWS BETWEEN {before} PRECEDING AND CURRENT ROW"


@lru_cache(maxsize=4096)
def _parsed(text: str) -> exp.Window:
    tree = sqlglot.parse_one(f"SELECT f() OVER ({text})", dialect="duckdb").find(exp.Window)
    assert isinstance(tree, exp.Window)
    return tree


def resolved(node: exp.Window, own: Mapping[str, exp.Window], parameters: Collection[str] = ()) -> exp.Window:
    """A copy with its partition, order and frame spelled out. `own` are windows that the query declares itself.

    Raises ValueError for a name that is no window.
    """
    node = node.copy()
    name = node.alias.lower()
    if not name:
        return node
    text = clause(name, parameters)
    base = own.get(name) or (_parsed(text) if text else None)
    if base is None:
        raise ValueError(f"there is no window {name}")
    base = resolved(base, own, parameters)
    for part in ("partition_by", "order", "spec"):
        if not node.args.get(part):
            node.set(part, base.args.get(part))
    node.set("alias", None)
    return node


@dataclass(frozen=True, slots=True)
class Frame:
    """The window of a node whose parameters are numbers.

    `kind`: `bars` (a symbol's bars in order of time), `market` (the symbols at a bar that have a candle), or `other`.
    The frame of `bars` goes from `first` bars back to `last` bars back; `first` is None where none is given.
    """

    kind: str
    first: int | None
    last: int
    order: tuple[exp.Ordered, ...]


def frame(node: exp.Window) -> Frame:
    """The window that a function in a factor's tree goes over."""
    full = resolved(node, {})
    partition = {spelled(part).lower() for part in full.args.get("partition_by") or ()}
    order = tuple(full.args["order"].expressions) if full.args.get("order") else ()
    kind = {frozenset({"symbol"}): "bars", frozenset({"open_time", "close is null"}): "market"}.get(
        frozenset(partition), "other"
    )
    spec = full.args.get("spec")
    if spec is None:
        return Frame(kind, None, 0, order)
    first, last = (
        0 if bound is None or isinstance(bound, str) else constant(bound)  # CURRENT ROW is a text
        for bound in (spec.args.get("start"), spec.args.get("end"))
    )
    return Frame(kind, first, last, order)


def folded(tree: exp.Expr) -> exp.Expr:
    """The tree with its frames and the offsets of lag as numbers, where no parameter is in them. It is changed."""
    for node in tree.find_all(exp.WindowSpec, exp.Lag):
        for part in ("start", "end", "offset"):
            bound = node.args.get(part)
            if isinstance(bound, exp.Expr) and not bound.find(exp.Placeholder, exp.Column):
                with suppress(ValueError):  # told where the look-back is found
                    node.set(part, exp.Literal.number(constant(bound)))
    return tree


def names(trees: Iterable[exp.Expr]) -> list[str]:
    """The named windows that the trees go over, those that others stand on first."""
    found = {node.alias.lower() for tree in trees for node in tree.find_all(exp.Window) if node.alias}
    if any(name.startswith("last_") for name in found):
        found.add("bars")
    return sorted(found)
