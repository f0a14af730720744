"""The trees of factors as a program over arrays.

What the fast way does not know raises Unsupported, and DuckDB computes the factor. Whether it does is told by the tree
alone and never by the data, as a factor's values must not change their last bits from one range to another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import sqlglot
from sqlglot import exp

from bmacdb.factors import across, arrays, windowed
from bmacdb.factors.arrays import quietly
from bmacdb.factors.bind import Bound
from bmacdb.factors.columns import CANDLE_COLUMNS, FUNDING_COLUMNS
from bmacdb.factors.helpers import helpers
from bmacdb.factors.program import Builder, Program, Ref, Truth, Unsupported, Work, finished
from bmacdb.factors.window import Frame, constant, frame

__all__ = ["compile_factors"]


def compile_factors(bounds: Sequence[Bound]) -> tuple[Program, dict[int, str]]:
    """One program for all, and why it leaves out which: those that the fast way does not know, by place."""
    builder = Builder()
    outputs: list[Ref] = []
    beyond = {}
    with quietly():
        for place, bound in enumerate(bounds):
            try:
                outputs.append(_value(builder, bound))
            except Unsupported as exc:
                beyond[place] = str(exc)
    return finished(builder.nodes, outputs), beyond


def _value(builder: Builder, bound: Bound) -> Ref:
    if not bound.steps:
        raise Unsupported("a whole query")
    steps: dict[str, Ref] = {}
    for name, tree in bound.steps:
        steps[name] = _Tree(builder, steps).of(tree)
    return builder.number(steps["value"])


_ARITHMETIC: dict[type[exp.Expr], Callable[[Any, Any], Any]] = {
    exp.Add: np.add,
    exp.Sub: np.subtract,
    exp.Mul: np.multiply,
    exp.Div: np.divide,
}
_ORDER: dict[type[exp.Expr], tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]] = {
    exp.LT: (np.less, np.greater_equal),
    exp.LTE: (np.less_equal, np.greater),
    exp.GT: (np.greater, np.less_equal),
    exp.GTE: (np.greater_equal, np.less),
}
_FUNCTIONS: dict[type[exp.Expr], Callable[[Any], Any]] = {
    exp.Abs: np.abs,
    exp.Exp: np.exp,
    exp.Floor: np.floor,
    exp.Ceil: np.ceil,
    exp.Trunc: np.trunc,
    exp.Neg: np.negative,
    exp.Cbrt: np.cbrt,
    exp.Sqrt: np.sqrt,
}
_LOGARITHMS = {"2": np.log2, "10": np.log10}
_RANKS: dict[type[exp.Expr], Work] = {
    exp.Rank: across.rank,
    exp.DenseRank: across.dense_rank,
    exp.PercentRank: across.percent_rank,
}


@dataclass(frozen=True, slots=True)
class _Tree:
    """`names`: what stands for steps, and for parameters of a helper."""

    builder: Builder
    names: Mapping[str, Ref]

    def number(self, tree: exp.Expr) -> Ref:
        return self.builder.number(self.of(tree))

    def truth(self, tree: exp.Expr) -> Truth:
        ref = self.of(tree)
        if not isinstance(ref, Truth):
            if isinstance(tree, exp.Null):
                return Truth(self.builder.constant((np.False_, np.False_)))
            raise Unsupported(f"{_spelled(tree)} where a condition is needed")
        return ref

    def of(self, tree: exp.Expr) -> Ref:
        """A number, or a Truth. Raises Unsupported."""
        build = self.builder
        match tree:
            case exp.Paren() | exp.Try():
                return self.of(tree.this)
            case exp.Literal() if not tree.is_string:
                return build.literal(float(tree.this))
            case exp.Null():
                return build.literal(np.nan)
            case exp.Boolean():
                return Truth(build.constant((np.bool_(tree.this), np.bool_(not tree.this))))
            case exp.Column():
                return self._column(tree)
            case exp.Cast() if tree.to.is_type("double"):
                ref = self.of(tree.this)
                return build.node(arrays.counted, [ref]) if isinstance(ref, Truth) else ref
            case exp.Mod() if _is_number(tree.right) and _literal(tree.right) != 0:  # of 0: null of integers, NaN else
                return build.node(arrays.binary, [self.number(tree.left), self.number(tree.right)], np.fmod)
            case exp.Add() | exp.Sub() | exp.Mul() | exp.Div():
                kids = [self.number(tree.left), self.number(tree.right)]
                return build.node(arrays.binary, kids, _ARITHMETIC[type(tree)])
            case exp.Pow():
                return build.node(arrays.power, [self.number(tree.left), self.number(tree.right)])
            case exp.Window():
                return self._window(tree)
            case exp.Case() | exp.If():
                return self._case(tree)
            case exp.Anonymous():
                return self._called(tree)
        return self._function(tree) if isinstance(tree, exp.Func | exp.Neg) else self._condition(tree)

    def _column(self, tree: exp.Column) -> Ref:
        name = tree.name.lower()
        if name in self.names:
            return self.names[name]
        if name in CANDLE_COLUMNS or name in FUNDING_COLUMNS:
            return self.builder.column(name)
        raise Unsupported(f"the column {name}")

    def _function(self, tree: exp.Expr) -> Ref:
        build = self.builder
        if type(tree) in _FUNCTIONS and not tree.args.get("decimals"):
            return build.node(arrays.unary, [self.number(tree.this)], _FUNCTIONS[type(tree)])
        match tree:
            case exp.Ln():
                return build.node(arrays.logarithm, [self.number(tree.this)], np.log)
            case exp.Log():
                base, value = (tree.this, tree.expression) if tree.expression else (exp.Literal.number(10), tree.this)
                if isinstance(base, exp.Literal) and base.this in _LOGARITHMS:
                    return build.node(arrays.logarithm, [self.number(value)], _LOGARITHMS[base.this])
            case exp.Sign():
                return build.node(arrays.sign, [self.number(tree.this)])
            case exp.Round():
                digits = constant(tree.args["decimals"]) if tree.args.get("decimals") else 0
                return build.node(arrays.rounded, [self.number(tree.this)], digits)
            case exp.Greatest() | exp.Least() | exp.Coalesce():
                work = _SEVERAL[type(tree)]
                parts = [self.number(part) for part in (tree.this, *tree.expressions)]
                return self._joined(parts, lambda one, other: build.node(work, [one, other]))
            case exp.Nullif():
                return build.node(arrays.nullif, [self.number(tree.this), self.number(tree.expression)])
            case exp.IsNan():
                return build.truth(arrays.is_nan, [self.number(tree.this)])
            case exp.IsInf():
                return build.truth(arrays.is_infinite, [self.number(tree.this)])
        return self._condition(tree)

    def _condition(self, tree: exp.Expr) -> Ref:
        build = self.builder
        match tree:
            case exp.And() | exp.Or():
                work = arrays.both if isinstance(tree, exp.And) else arrays.either
                return build.truth(work, [self.truth(tree.left), self.truth(tree.right)])
            case exp.Not():
                return build.truth(arrays.opposite, [self.truth(tree.this)])
            case exp.LT() | exp.LTE() | exp.GT() | exp.GTE():
                return build.truth(
                    arrays.compared, [self.number(tree.left), self.number(tree.right)], *_ORDER[type(tree)]
                )
            case exp.EQ() | exp.NEQ():
                same = build.truth(arrays.equal, [self.number(tree.left), self.number(tree.right)])
                return same if isinstance(tree, exp.EQ) else build.truth(arrays.opposite, [same])
            case exp.Between() if not tree.args.get("symmetric"):
                value = self.number(tree.this)
                low = build.truth(arrays.compared, [value, self.number(tree.args["low"])], *_ORDER[exp.GTE])
                high = build.truth(arrays.compared, [value, self.number(tree.args["high"])], *_ORDER[exp.LTE])
                return build.truth(arrays.both, [low, high])
            case exp.In() if tree.expressions:
                value = self.number(tree.this)
                found: list[Ref] = [build.truth(arrays.equal, [value, self.number(one)]) for one in tree.expressions]
                return self._joined(found, lambda one, other: build.truth(arrays.either, [one, other]))
            case exp.Is() if isinstance(tree.expression, exp.Null):
                ref = self.of(tree.this)
                return build.truth(arrays.is_unknown if isinstance(ref, Truth) else arrays.is_null, [ref])
        raise Unsupported(_spelled(tree))

    def _joined(self, parts: list[Ref], join: Callable[[Ref, Ref], Ref]) -> Ref:
        found = parts[0]
        for part in parts[1:]:
            found = join(found, part)
        return found

    def _case(self, tree: exp.Case | exp.If) -> Ref:
        ifs = tree.args["ifs"] if isinstance(tree, exp.Case) else [tree]
        default = tree.args.get("default") if isinstance(tree, exp.Case) else tree.args.get("false")
        chosen = self.number(default) if default is not None else self.builder.literal(np.nan)
        for one in reversed(ifs):
            when = exp.EQ(this=tree.this, expression=one.this) if isinstance(tree, exp.Case) and tree.this else one.this
            chosen = self.builder.node(arrays.choice, [self.truth(when), self.number(one.args["true"]), chosen])
        return chosen

    def _called(self, tree: exp.Anonymous) -> Ref:
        name, given = tree.name.lower(), tree.expressions
        if name == "isfinite":
            return self.builder.truth(arrays.is_finite, [self.number(given[0])])
        if (helper := helpers().get(name)) is None:
            raise Unsupported(f"{name}()")
        if name in _HELPERS:
            return _HELPERS[name](self.builder, self.number(given[0]), *map(_literal, given[1:]))
        pairs = list(zip(helper.parameters, given, strict=True))
        numbers = tuple((name, part.sql()) for name, part in pairs if _is_number(part))
        names = {name: self.of(part) for name, part in pairs if not _is_number(part)}
        return _Tree(self.builder, names).of(_with_numbers(name, numbers))

    # windows

    def _window(self, tree: exp.Window) -> Ref:
        over = _frame(tree)
        function, ignoring, condition = tree.this, False, None
        while isinstance(function, exp.IgnoreNulls | exp.RespectNulls | exp.Filter):
            ignoring |= isinstance(function, exp.IgnoreNulls)
            if isinstance(function, exp.Filter):
                condition = self.truth(function.expression.this)
            function = function.this
        if over.kind == "market":
            return self._across(function, over, condition)
        if over.kind != "bars":
            raise Unsupported("a window over another partition")
        if isinstance(function, exp.Lag):
            if ignoring or condition or function.args.get("default"):
                raise Unsupported("lag() with more than a number of bars")
            number, back = ref = self.of(function.this)
            offset = function.args.get("offset")
            back += 1 if offset is None else constant(offset)
            return Truth((number, back)) if isinstance(ref, Truth) else (number, back)
        if over.first is None:
            raise Unsupported("a window without a frame")
        length = over.first - over.last + 1
        if length < 1:
            raise Unsupported("a frame without bars")
        ref = self._over(function, length, condition, ignoring=ignoring)
        return ref[0], ref[1] + over.last

    def _over(self, function: exp.Expr, length: int, condition: Truth | None, *, ignoring: bool) -> Ref:
        build = self.builder
        if isinstance(function, exp.FirstValue | exp.LastValue):
            value = self.number(function.this)
            if condition is not None:
                raise Unsupported("a filter of first_value or last_value")
            first = isinstance(function, exp.FirstValue)
            if ignoring:
                return build.simple(value, length, windowed.oldest_join if first else windowed.newest_join)
            return (value[0], value[1] + length - 1) if first else value
        if ignoring:
            raise Unsupported("IGNORE NULLS")
        name = function.name.lower() if isinstance(function, exp.Anonymous) else ""
        if isinstance(function, exp.Count) and isinstance(function.this, exp.Star) and condition is None:
            return build.literal(length)
        if name not in ("", *_PRODUCTS):
            raise Unsupported(f"{name}() over bars")
        given = function.expressions if name else [function.this, function.args.get("expression")]
        values = [self._argument(part, condition) for part in given if isinstance(part, exp.Expr)]
        match function:
            case exp.Count():
                return build.node(windowed.count, [build.counts(build.node(windowed.nulls, values), length)])
            case exp.Sum() | exp.CountIf():
                return build.total(values[0], length, windowed.sum_leaf, windowed.sum_join, windowed.total)
            case exp.Avg():
                return build.total(values[0], length, windowed.sum_leaf, windowed.sum_join, windowed.average)
            case exp.Min() | exp.Max() if len(values) == 1:
                return build.extreme(values[0], length, highest=isinstance(function, exp.Max))
            case exp.Anonymous():
                return build.total(values[0], length, windowed.product_leaf, windowed.product_join, windowed.total)
        if type(function) in _MOMENTS:
            leaf, join, finish, constants = _MOMENTS[type(function)]
            return build.node(finish, build.moments(values[0], length, leaf, join), *constants)
        if type(function) in _PAIRS and len(values) == 2:
            finish, constants = _PAIRS[type(function)]
            return build.node(finish, build.pairs(values[0], values[1], length), *constants)
        raise Unsupported(f"{_spelled(function)} over bars")

    def _argument(self, tree: exp.Expr, condition: Truth | None) -> Ref:
        """What is aggregated, null where the filter does not hold. A truth counts as 1 or 0, and a star as 1."""
        build = self.builder
        ref = build.literal(1) if isinstance(tree, exp.Star) else self.of(tree)
        if isinstance(ref, Truth):
            ref = build.node(arrays.counted, [ref])
        return ref if condition is None else build.node(arrays.choice, [condition, ref, build.literal(np.nan)])

    def _across(self, function: exp.Expr, over: Frame, condition: Truth | None) -> Ref:
        build = self.builder
        close = build.column("close")
        if over.first is not None:
            raise Unsupported("a frame across the market")
        if type(function) in _RANKS and len(over.order) == 1 and condition is None and not function.expressions:
            ordered = over.order[0]
            if ordered.args.get("nulls_first"):
                raise Unsupported("NULLS FIRST")
            value = self.number(ordered.this)
            return build.node(_RANKS[type(function)], [value, close], bool(ordered.args.get("desc")))
        if type(function) not in _MARKET or over.order:
            raise Unsupported(f"{_spelled(function)} across the market")
        work, constants = _MARKET[type(function)]
        return build.node(work, [self._argument(function.this, condition), close], *constants)


_SEVERAL: dict[type[exp.Expr], Work] = {
    exp.Greatest: arrays.greatest,
    exp.Least: arrays.least,
    exp.Coalesce: arrays.coalesce,
}
_PRODUCTS = ("product",)
_SPREAD = windowed.moment_leaf, windowed.moment_join
_SHAPE = windowed.shape_leaf, windowed.shape_join
_MOMENTS: dict[type[exp.Expr], tuple[Work, Work, Work, tuple[Any, ...]]] = {
    exp.Stddev: (*_SPREAD, windowed.deviation, (1,)),
    exp.StddevSamp: (*_SPREAD, windowed.deviation, (1,)),
    exp.StddevPop: (*_SPREAD, windowed.deviation, (0,)),
    exp.Variance: (*_SPREAD, windowed.variance, (1,)),
    exp.VariancePop: (*_SPREAD, windowed.variance, (0,)),
    exp.Skewness: (*_SHAPE, windowed.skewness, ()),
    exp.Kurtosis: (*_SHAPE, windowed.kurtosis, ()),
}
_PAIRS: dict[type[exp.Expr], tuple[Work, tuple[Any, ...]]] = {
    exp.Corr: (windowed.correlation, ()),
    exp.CovarSamp: (windowed.covariance, (1,)),
    exp.CovarPop: (windowed.covariance, (0,)),
    exp.RegrSlope: (windowed.slope, ()),
}
_MARKET: dict[type[exp.Expr], tuple[Work, tuple[Any, ...]]] = {
    exp.Count: (across.count, ()),
    exp.Sum: (across.total, ()),
    exp.Avg: (across.average, ()),
    exp.Min: (across.lowest, ()),
    exp.Max: (across.highest, ()),
    exp.Stddev: (across.deviation, (1,)),
    exp.StddevSamp: (across.deviation, (1,)),
    exp.StddevPop: (across.deviation, (0,)),
    exp.Variance: (across.variance, (1,)),
    exp.VariancePop: (across.variance, (0,)),
}
_HELPERS: dict[str, Callable[..., Ref]] = {
    "ts_rank": lambda build, value, n: build.node(windowed.rank, [value], n, span=n - 1),
    "ts_argmax": lambda build, value, n: build.ts_place(value, n, negative=False),
    "ts_argmin": lambda build, value, n: build.ts_place(value, n, negative=True),
    "decay_linear": lambda build, value, n: build.decay_linear(value, n),
    "mean_deviation": lambda build, value, n: build.mean_deviation(value, n),
    "drawdown": lambda build, value, n: build.node(
        windowed.drawdown, [build.simple(build.node(windowed.fall_leaf, [value]), n, windowed.fall_join)]
    ),
    "ewm": lambda build, value, alpha, n: build.ewm(value, alpha, n),
    "wilder": lambda build, value, n, bars: build.wilder(value, n, bars),
}
"""Helpers that are not computed by what their macro says, but give the same."""


@lru_cache(maxsize=1024)
def _with_numbers(name: str, numbers: tuple[tuple[str, str], ...]) -> exp.Expr:
    """The expression of a helper, with these parameters put in."""
    texts = dict(numbers)

    def put(node: exp.Expr) -> exp.Expr:
        text = texts.get(node.name) if isinstance(node, exp.Column) else None
        return node if text is None else sqlglot.parse_one(text, dialect="duckdb")

    return helpers()[name].body.transform(put)


def _frame(tree: exp.Window) -> Frame:
    """Of the window alone, without the function that goes over it."""
    parts = {name: tree.args.get(name) for name in ("alias", "partition_by", "order", "spec")}
    if not any(parts[name] for name in ("partition_by", "order", "spec")):
        return _named(tree.alias.lower())
    copied = {
        name: [one.copy() for one in part] if isinstance(part, list) else part.copy()
        for name, part in parts.items()
        if part is not None
    }
    return frame(exp.Window(this=exp.Null(), **copied))


@lru_cache(maxsize=1024)
def _named(name: str) -> Frame:
    return frame(exp.Window(this=exp.Null(), alias=exp.to_identifier(name)))


def _spelled(tree: exp.Expr) -> str:
    return f"{tree.sql_name().lower()}()" if isinstance(tree, exp.Func) else tree.key


def _is_number(tree: exp.Expr) -> bool:
    return not any(tree.find_all(exp.Column, exp.Window, exp.Anonymous))


def _literal(tree: exp.Expr) -> Any:
    """The number that a helper is given: whole where it can be."""
    try:
        return constant(tree)
    except ValueError:
        pass
    builder = Builder()
    with quietly():
        number, _ = _Tree(builder, {}).of(tree)
    parts = builder.nodes[number].parts
    if parts is None:
        raise Unsupported("a helper's number that is not known beforehand")
    return float(parts[0])
