"""How many bars a factor looks back, read from its tree: an expression of its parameters, so that macros have it too.

What looks forward, or back without an end, is refused where it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from sqlglot import exp

from bmacdb.factors.window import constant, resolved, spelled

__all__ = ["Reach", "farthest", "plus", "reach"]

Reach = exp.Expr
"""Bars before the current one that are read, as an expression of numbers and parameters."""

Refuse = Callable[[exp.Expr, str], Exception]

NONE = exp.Literal.number(0)
_UNFRAMED = exp.RowNumber | exp.Rank | exp.DenseRank | exp.PercentRank | exp.CumeDist | exp.Ntile
_NUMBERS = exp.Literal | exp.Placeholder | exp.Add | exp.Sub | exp.Mul | exp.Div | exp.IntDiv | exp.Paren | exp.Neg


def plus(one: Reach, other: Reach) -> Reach:
    if one == NONE or other == NONE:
        return one if other == NONE else other
    if isinstance(one, exp.Literal) and isinstance(other, exp.Literal):
        return exp.Literal.number(int(one.this) + int(other.this))
    return exp.Add(this=one.copy(), expression=exp.paren(other.copy()) if isinstance(other, exp.Sub) else other.copy())


def farthest(reaches: Iterable[Reach]) -> Reach:
    """The largest; 0 of none."""
    numbers = [0]
    others: dict[str, Reach] = {}
    for one in reaches:
        for part in [*one.expressions, one.this] if isinstance(one, exp.Greatest) else [one]:
            if isinstance(part, exp.Literal):
                numbers.append(int(part.this))
            else:
                others.setdefault(spelled(part), part.copy())
    if not others:
        return exp.Literal.number(max(numbers))
    parts = [*others.values(), *([exp.Literal.number(max(numbers))] if max(numbers) else [])]
    return parts[0] if len(parts) == 1 else exp.Greatest(this=parts[0], expressions=parts[1:], ignore_nulls=True)


def reach(
    tree: exp.Expr,
    known: Mapping[str, Reach],
    refuse: Refuse,
    *,
    parameters: Collection[str] = (),
    own: Mapping[str, exp.Window] | None = None,
) -> Reach:
    """How far back `tree` reads, helpers expanded. `known`: what names of steps stand for, by name.

    `refuse` makes the error of a node and a reason. `own`: windows that a query declares.
    """

    def of(node: exp.Expr) -> Reach:
        if isinstance(node, exp.Window):
            return of_window(node)
        if isinstance(node, exp.Lag | exp.Lead):
            raise refuse(node, f"{node.key}() needs its window: {node.key}(…) OVER bars.")
        if isinstance(node, exp.Column):
            return known.get(node.name.lower(), NONE)
        return farthest(map(of, node.iter_expressions()))

    def of_window(node: exp.Window) -> Reach:
        try:
            full = resolved(node, own or {}, parameters)
        except ValueError as exc:
            raise refuse(node, f"{exc}: there are bars, last_20 (any number), {_lasts(parameters)}market.") from None
        function = full.this
        nulls = isinstance(function, exp.IgnoreNulls)
        while isinstance(function, exp.IgnoreNulls | exp.RespectNulls | exp.Filter):
            function = function.this
        partition = {spelled(part).lower() for part in full.args.get("partition_by") or ()}
        order = full.args["order"].expressions if full.args.get("order") else []
        read = [
            *function.iter_expressions(),
            *full.args.get("partition_by", ()),
            *order,
            *([full.this.expression] if isinstance(full.this, exp.Filter) else []),
        ]
        if "open_time" in partition:
            return farthest(map(of, read))
        if partition != {"symbol"}:
            raise refuse(node, "a window needs PARTITION BY symbol or open_time: OVER bars, last_20 or market.")
        if [spelled(one).lower() for one in order] != ["open_time"]:
            raise refuse(node, "a window of a symbol's bars needs ORDER BY open_time, as bars and last_20 have.")
        if isinstance(function, exp.Lead):
            raise refuse(node, "lead() reads the future. No factor may.")
        if isinstance(function, exp.Lag):
            if nulls:
                raise refuse(node, "lag(… IGNORE NULLS) looks back without an end. Take last_value over last_20.")
            back = number(function.args.get("offset") or exp.Literal.number(1), function, "lag()")
            rest = [part for part in read if part is not function.args.get("offset")]
            return plus(back, farthest(map(of, rest)))
        if isinstance(function, _UNFRAMED) and not function.expressions:
            raise refuse(
                node,
                f"{function.sql()} over bars looks back without an end. Write rank(ORDER BY x) OVER last_20.",
            )
        spec = full.args.get("spec")
        if spec is None:
            raise refuse(node, "it looks back without an end. Say how far: OVER last_20, or ROWS BETWEEN … PRECEDING.")
        return plus(frame(spec, node), farthest(map(of, read)))

    def frame(spec: exp.WindowSpec, node: exp.Expr) -> Reach:
        start, side = spec.args.get("start"), spec.args.get("start_side")
        end, end_side = spec.args.get("end"), spec.args.get("end_side")
        if str(spec.args.get("kind")).upper() != "ROWS":
            raise refuse(node, f"frames are of ROWS and not of {spec.args.get('kind')}: bars has a row for every bar.")
        if "FOLLOWING" in (side, end_side):
            raise refuse(node, "FOLLOWING reads the future. No factor may.")
        if start == "UNBOUNDED" or end == "UNBOUNDED":
            raise refuse(node, "UNBOUNDED looks back without an end. Say how many bars.")
        if isinstance(end, exp.Expr):
            number(end, node, "the frame")
        return NONE if isinstance(start, str) or start is None else number(start, node, "the frame")

    def number(tree: exp.Expr, node: exp.Expr, of_what: str) -> Reach:
        """A count of bars that is known beforehand and not below 0."""
        if tree.find(exp.Column, exp.Window, exp.Subquery):
            raise refuse(node, f"{of_what} needs a number of bars that is known beforehand, not {spelled(tree)}.")
        if tree.find(exp.Placeholder):
            return tree
        try:
            count = constant(tree)
        except ValueError as exc:
            raise refuse(node, f"{exc}.") from None
        if count < 0:
            raise refuse(node, f"{count} bars back are {-count} in the future. No factor may read them.")
        return exp.Literal.number(count)

    return of(tree)


def _lasts(parameters: Collection[str]) -> str:
    return "".join(f"last_{name}, " for name in parameters)
