"""Steps as CTEs: DuckDB allows no window within a window, so each step that another goes over is laid below it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlglot
from sqlglot import exp

from bmacdb.factors.helpers import expanded
from bmacdb.factors.window import clause, folded, frame, names, spelled

__all__ = ["Cte", "lay_query", "lay_steps"]

Cte = tuple[str, str]
"""A name and the query that it stands for."""

_RAISING = frozenset(("ln", "log", "log2", "log10", "sqrt", "asin", "acos"))
"""Of numbers: DuckDB stops the query where they have no value. In TRY they are null."""

_OVERFLOWING = frozenset(
    (
        *("corr", "covar_pop", "covar_samp", "geomean", "kurtosis", "kurtosis_pop"),
        *("regr_r2", "regr_slope", "sem", "skewness"),
        *("stddev", "stddev_pop", "stddev_samp", "var_pop", "var_samp", "variance"),
    )
)
"""Of windows: DuckDB stops the query where a value in them is not finite, or too large to be squared. (Covariance and
slope come out infinite or NaN, by the order in which the values are added.)"""

_MAY_BE_INFINITE = (exp.Div, exp.Pow, exp.Exp, exp.Anonymous, exp.Corr, exp.RegrSlope, exp.Skewness)
"""What may be infinite or NaN where all that it is made of is finite."""


def lay_steps(steps: Sequence[tuple[str, exp.Expr]], integers: Collection[str] = ()) -> list[Cte]:
    """CTEs that begin at `bars`; the last has the column `value`, and all columns of bars."""
    levels: dict[str, int] = {}
    texts: dict[int, dict[str, exp.Expr]] = {}
    wild: set[str] = set()
    lifted: dict[str, str] = {}

    def add(name: str, tree: exp.Expr) -> None:
        read = {column.name.lower() for column in tree.find_all(exp.Column)}
        if read & wild or tree.find(*_MAY_BE_INFINITE):
            wild.add(name)
        levels[name] = 1 + max((levels.get(column, 0) for column in read), default=0)
        texts.setdefault(levels[name], {})[name] = tree

    def lift(node: exp.Expr, inside: bool) -> exp.Expr:
        """The node with each window that lies within another as a column of a step below."""
        over = inside or isinstance(node, exp.Window | exp.Try)
        for child in list(node.iter_expressions()):
            if (put := lift(child, over)) is not child:
                child.replace(put)
        if not inside or not isinstance(node, exp.Window):
            return node
        text = spelled(node)
        if text not in lifted:
            lifted[text] = f"w{len(lifted) + 1}"
            add(lifted[text], node.copy())
        return exp.column(lifted[text])

    for name, tree in steps:
        if name == "value":
            tree = exp.cast(exp.paren(tree.copy()), "DOUBLE")
        add(name, lift(_guarded(folded(expanded(tree)), wild), False))
    found: list[Cte] = []
    for number, level in enumerate(sorted(texts), 1):
        items = ",\n".join(f"    {spelled(tree)} AS {name}" for name, tree in texts[level].items())
        below = found[-1][0] if found else "bars"
        windows = _windows(texts[level].values(), integers)
        found.append(
            (f"step{number}", f"  SELECT *,\n{items}\n  FROM {below}" + (f"\n  WINDOW {windows}" if windows else ""))
        )
    return found


def lay_query(query: exp.Query, integers: Collection[str] = ()) -> list[Cte]:
    """CTEs of a whole query over `bars`, with its windows declared; the last is the query."""
    tree = folded(expanded(query))
    for select in list(tree.find_all(exp.Select)):
        own = {window.this.name.lower() for window in select.args.get("windows") or ()}
        inner = [part for part in select.find_all(exp.Window) if part.find_ancestor(exp.Select) is select]
        if text := _windows(inner, integers, own):
            added = sqlglot.parse_one(f"SELECT 1 WINDOW {text}", dialect="duckdb").args["windows"]
            select.set("windows", [*added, *(select.args.get("windows") or ())])
    head = tree.args.get("with_")
    ctes = [(cte.alias, spelled(cte.this, pretty=True)) for cte in head.expressions] if head is not None else []
    tree.set("with_", None)
    return [*ctes, ("factor", spelled(tree, pretty=True))]


def _windows(trees: Collection[exp.Expr], integers: Collection[str], own: Collection[str] = ()) -> str:
    found = [(name, clause(name, integers)) for name in names(trees) if name not in own]
    return ", ".join(f"{name} AS ({text.replace('$', '')})" for name, text in found if text)


def _guarded(tree: exp.Expr, wild: Collection[str]) -> exp.Expr:
    """The tree with nulls where DuckDB would stop the query."""

    def guard(node: exp.Expr) -> exp.Expr:
        put = guard_numbers(node)
        if not isinstance(node, exp.Window) or _frame_kind(node) != "market" or _at_candles(node):
            return put
        # Where the candle is missing, the window goes over whatever other symbols lack it too.
        there = exp.Not(this=exp.Is(this=exp.column("close"), expression=exp.Null()))
        return exp.Case(ifs=[exp.If(this=there, true=put.copy())])

    def guard_numbers(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Func) and _is(node, _RAISING) and node.find(exp.Column):
            return exp.Try(this=node.copy()) if not isinstance(node.parent, exp.Try) else node
        function = node.this if isinstance(node, exp.Window) else None
        function = function.this if isinstance(function, exp.Filter) else function
        if function is None or not _is(function, _OVERFLOWING):
            return node
        given = list(function.iter_expressions())
        if not any(
            part.find(*_MAY_BE_INFINITE) or any(column.name.lower() in wild for column in part.find_all(exp.Column))
            for part in given
        ):
            return node
        sizes = " + ".join(f"abs({spelled(part)})" for part in given)
        small = sqlglot.parse_one(f"{sizes} < 1e75", dialect="duckdb")
        whole, kept = node.copy(), node.copy()
        inner = whole.this.this if isinstance(whole.this, exp.Filter) else whole.this
        inner.replace(exp.Anonymous(this="bool_and", expressions=[small]))
        inner = kept.this.this if isinstance(kept.this, exp.Filter) else kept.this
        for part in list(inner.iter_expressions()):
            part.replace(exp.Case(ifs=[exp.If(this=small.copy(), true=part.copy())]))
        return exp.Case(ifs=[exp.If(this=whole, true=kept)])

    # From the leaves: a guard stands round what is guarded already.
    for node in reversed(list(tree.walk())):
        put = guard(node)
        if put is not node:
            if node is tree:
                tree = put
            else:
                node.replace(put)
    return tree


def _frame_kind(node: exp.Window) -> str:
    bare = {name: node.args.get(name) for name in ("alias", "partition_by") if node.args.get(name)}
    try:
        return frame(exp.Window(this=exp.Null(), **bare).copy()).kind
    except ValueError:  # last_n of a macro, whose n is not known yet
        return "bars"


def _at_candles(node: exp.Window) -> bool:
    """Whether it stands in a CASE already that asks for the candle."""
    branch = node.find_ancestor(exp.If)
    return branch is not None and "NOT close IS NULL" in spelled(branch.this)


def _is(function: exp.Expr, among: Collection[str]) -> bool:
    """Whether the function is one of these."""
    if isinstance(function, exp.Anonymous):
        return function.name.lower() in among
    return isinstance(function, exp.Func) and any(name.lower() in among for name in function.sql_names())
