"""The helpers of the language: macros of `helpers.sql`, put into a factor's tree where it calls them.

A statement is thereby complete in itself, and runs on a file whose recorder did not know the helper.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import sqlglot
from sqlglot import exp

from bmacdb.factors.window import spelled

__all__ = ["Helper", "expanded", "helper_macros", "helpers"]


@dataclass(frozen=True, slots=True)
class Helper:
    """A macro: the names of its parameters, its expression, and the statement that creates it."""

    name: str
    parameters: tuple[str, ...]
    body: exp.Expr
    text: str


@cache
def helpers() -> Mapping[str, Helper]:
    """The helpers by name."""
    text = files("bmacdb.factors").joinpath("helpers.sql").read_text(encoding="utf-8")
    found = {}
    for tree in sqlglot.parse(text, dialect="duckdb"):
        if isinstance(tree, exp.Create):
            head = tree.this
            names, name = tuple(part.name for part in head.expressions), head.this.name
            body = tree.expression.transform(_named)
            found[name] = Helper(name, names, body, tree.sql("duckdb", comments=False))
    return found


def expanded(tree: exp.Expr) -> exp.Expr:
    """A copy of the tree with what the helpers that it calls stand for. Raises ValueError for a wrong call."""

    def expand(node: exp.Expr) -> exp.Expr:
        helper = helpers().get(node.name.lower()) if isinstance(node, exp.Anonymous) else None
        if helper is None:
            return node
        given = node.expressions
        if len(given) != len(helper.parameters):
            raise ValueError(
                f"{helper.name} takes {', '.join(helper.parameters)}, and was given {len(given)} arguments"
            )
        values = dict(zip(helper.parameters, map(expanded, given), strict=True))
        return _closed(helper.body.transform(_put, values))

    return tree.transform(expand)


def _put(node: exp.Expr, values: Mapping[str, exp.Expr]) -> exp.Expr:
    if isinstance(node, exp.Column) and not node.table and node.name in values:
        return _closed(values[node.name].copy())
    return node


def _closed(tree: exp.Expr) -> exp.Expr:
    """The tree in parentheses, where it could come apart within another."""
    apart = isinstance(tree, exp.Binary | exp.Unary | exp.Between | exp.In) and not isinstance(tree, exp.Paren)
    return exp.Paren(this=tree) if apart else tree


def _named(node: exp.Expr) -> exp.Expr:
    """A window of the macro as a factor writes it: `(bars ROWS …)`, `(market ORDER BY x)`."""
    if isinstance(node, exp.Window):
        partition = [spelled(part) for part in node.args["partition_by"]]
        name = "bars" if partition == ["symbol"] else "market"
        node.set("partition_by", None)
        node.set("alias", exp.to_identifier(name))
        if name == "bars":
            node.set("order", None)
    return node


def helper_macros() -> list[str]:
    """The statements that create the helpers in a database."""
    return [helper.text for helper in helpers().values()]
