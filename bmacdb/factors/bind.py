"""A factor with its parameters put in: checked names, the other factors that it calls, its look-back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache

import duckdb
from sqlglot import exp

from bmacdb.errors import UsageError, did_you_mean
from bmacdb.factors.call import Call, Value, parse_call
from bmacdb.factors.columns import BARS_COLUMNS, CANDLE_COLUMNS, FUNDING_COLUMNS
from bmacdb.factors.helpers import expanded, helpers
from bmacdb.factors.query import query_reach
from bmacdb.factors.reach import Reach, reach
from bmacdb.factors.source import Factor
from bmacdb.factors.window import constant, folded, resolved

__all__ = ["Bound", "bind", "functions", "steps_of", "steps_reach"]

Step = tuple[str, exp.Expr]
Find = Callable[[str], Factor | None]


@dataclass(frozen=True, slots=True)
class Bound:
    """A factor with its parameters, which are literals in its trees.

    `steps`: (name, tree) in order, the last named `value`; calls of helpers are in them as they were written, those of
    other factors are steps of their own. `query`: where the file is a whole query, and `steps` are empty. `lookback` is
    in bars, the newest included. `columns` are those of candles and fundings that are read. `across`: it needs
    the whole market.
    """

    call: Call
    factor: Factor
    values: Mapping[str, Value]
    steps: tuple[Step, ...]
    query: exp.Query | None
    lookback: int
    columns: frozenset[str]
    across: bool


def bind(factor: Factor, call: Call, find: Find) -> Bound:
    """`factor` with the parameter of `call`. `find` gives other factors by name.

    Raises UsageError, with line and column, for names that are not there and for what reads the future.
    """
    values = factor.values(call)
    steps: tuple[Step, ...] = ()
    query = None
    if factor.query is None:
        steps = tuple(_Binding(factor, values, find, (factor.name,)).steps())
        back = steps_reach(factor, steps)
        trees = [tree for _, tree in steps]
    else:
        query = factor.query.copy()
        query.transform(_literal, values, copy=False)
        _check_functions(factor, query)
        back = query_reach(factor, query)
        trees = [query]
    wide = [expanded(tree) for tree in trees]
    columns = {node.name.lower() for tree in wide for node in tree.find_all(exp.Column)} & {
        *CANDLE_COLUMNS,
        *FUNDING_COLUMNS,
    }
    lookback = constant(back) + 1
    across = any(_across(node) for tree in wide for node in tree.find_all(exp.Window)) or query is not None
    return Bound(call, factor, values, steps, query, lookback, frozenset(columns), across)


def steps_of(factor: Factor, find: Find) -> tuple[Step, ...]:
    """The steps with the parameters as they are written, those of called factors before them."""
    values: dict[str, Value | exp.Expr] = {
        parameter.name: exp.Placeholder(this=parameter.name) for parameter in factor.parameters
    }
    return tuple(_Binding(factor, values, find, (factor.name,)).steps())


def steps_reach(factor: Factor, steps: tuple[Step, ...]) -> Reach:
    """How many bars before the current one the last step reads."""
    known: dict[str, Reach] = {}
    integers = [parameter.name for parameter in factor.parameters if parameter.kind == "int"]
    for name, tree in steps:
        known[name] = reach(expanded(tree), known, factor.error, parameters=integers)
    return known["value"]


def _across(node: exp.Window) -> bool:
    try:
        full = resolved(node, {})
    except ValueError:
        return False
    return any(part.name == "open_time" for part in full.args.get("partition_by") or ())


def _literal(node: exp.Expr, values: Mapping[str, Value | exp.Expr]) -> exp.Expr:
    """A parameter as a literal, and `last_n` as `last_14`."""
    if isinstance(node, exp.Placeholder) and node.name in values:
        value: Value | exp.Expr = values[node.name]
        if isinstance(value, exp.Expr):
            return exp.paren(value.copy()) if isinstance(value, exp.Binary) else value.copy()
        if isinstance(value, str):
            return exp.Literal.string(value)
        number = exp.Literal.number(abs(value))
        return exp.Paren(this=exp.Neg(this=number)) if value < 0 else number
    if isinstance(node, exp.Window) and node.alias.lower().startswith("last_"):
        count = values.get(node.alias[5:])
        if isinstance(count, int | exp.Placeholder):
            node.set("alias", exp.to_identifier(f"last_{count if isinstance(count, int) else count.name}"))
        elif isinstance(count, exp.Expr):
            before = exp.Sub(this=exp.paren(count.copy()), expression=exp.Literal.number(1))
            frame = {"kind": "ROWS", "start": before, "start_side": "PRECEDING", "end": "CURRENT ROW"}
            node.set("alias", exp.to_identifier("bars"))
            node.set("spec", exp.WindowSpec(**frame))
    return node


def _marked(node: exp.Expr, factors: Collection[str]) -> exp.Expr:
    """A parameter that is a factor, as a call of it."""
    if isinstance(node, exp.Placeholder) and node.name in factors:
        return exp.Anonymous(this=f"${node.name}", expressions=[])
    return node


@dataclass(slots=True)
class _Binding:
    """The steps of a factor; `above` are the factors that call it."""

    factor: Factor
    values: Mapping[str, Value | exp.Expr]
    find: Find
    above: tuple[str, ...]
    prefix: str = ""
    made: dict[str, exp.Expr] = field(default_factory=dict)

    def steps(self) -> list[Step]:
        known: dict[str, str] = {}
        factors = {parameter.name for parameter in self.factor.parameters if parameter.kind == "factor"}
        simple = {name: value for name, value in self.values.items() if name not in factors}
        for name, tree in self.factor.steps:
            checked = self._checked(tree, known).transform(_marked, factors)
            bound = self._called(checked.transform(_literal, simple))
            known[name] = f"{self.prefix}{name}"
            self.made[known[name]] = folded(bound)
        return list(self.made.items())

    def _checked(self, tree: exp.Expr, known: Mapping[str, str]) -> exp.Expr:
        """A copy with the steps by the names that they have here. Raises UsageError for a name that is not there."""
        tree = exp.paren(tree)  # which the parts below can be replaced in
        _check_functions(self.factor, tree, self.find)
        for column in list(tree.find_all(exp.Column)):
            name = column.name.lower()
            if column.table.lower() in known:  # a member of a struct
                column.replace(exp.Dot(this=exp.column(known[column.table.lower()]), expression=column.this))
                continue
            if column.table:
                raise self.factor.error(column, f"{column.sql()}: name columns without a table.")
            if name in known or name in BARS_COLUMNS:
                column.set("this", exp.to_identifier(known.get(name, name)).copy())
            else:
                near = did_you_mean(name, [*known, *BARS_COLUMNS])
                raise self.factor.error(column, f"there is no column or step {column.name}.{near}")
        checked: exp.Expr = tree.this
        return checked.pop()

    def _called(self, tree: exp.Expr) -> exp.Expr:
        """The tree with steps in place of the factors that it calls, as `cs_rank(Amihud(24))` and `$factor` do."""

        def call(node: exp.Expr) -> exp.Expr:
            if isinstance(node, exp.Anonymous) and (other := self.find(node.name)) is not None:
                return self._inner(node, other, [_value(self.factor, part) for part in node.expressions])
            if isinstance(node, exp.Anonymous) and node.name.startswith("$"):
                given = parse_call(str(self.values[node.name[1:]]))
                if (other := self.find(given.name)) is None:
                    raise UsageError(
                        f"factor {self.factor.name}: {given.name} cannot be called in SQL, as there is no such "
                        "factor in SQL. A module with is_cross = True and get_factor_list(n) can compare modules."
                    )
                return self._inner(node, other, str(given.param).split(",") if given.param is not None else [])
            return node

        return tree.transform(call)

    def _inner(self, node: exp.Expr, other: Factor, given: Sequence[Value | exp.Expr]) -> exp.Expr:
        if other.name in self.above:
            raise UsageError(f"factor {self.factor.name} needs itself: {' -> '.join([*self.above, other.name])}.")
        if other.query is not None:
            raise self.factor.error(node, f"{other.name} is a whole query: only select lists can be called.")
        texts = [part if not isinstance(part, exp.Expr) else "" for part in given]
        values: dict[str, Value | exp.Expr] = {}
        if any(isinstance(part, exp.Expr) for part in given):  # in a macro
            for place, parameter in enumerate(other.parameters):
                known = given[place] if place < len(given) else parameter.default
                if known is None or len(given) > len(other.parameters):
                    raise self.factor.error(node, f"{other.name} takes {', '.join(map(str, other.parameters))}.")
                values[parameter.name] = known
        else:
            values |= other.values(Call(other.name, ",".join(map(str, texts)) if texts else None))
        shown = (value.sql() if isinstance(value, exp.Expr) else str(value) for value in values.values())
        prefix = "_".join([other.name, *shown]).lower()
        prefix = "".join(letter if letter.isalnum() or letter == "_" else "_" for letter in prefix) + "__"
        above = (*self.above, other.name)
        steps_reach(other, tuple(_Binding(other, values, self.find, above).steps()))  # told where it stands in its file
        _Binding(other, values, self.find, above, prefix, self.made).steps()
        value = exp.column(f"{prefix}value")
        finite = exp.Anonymous(this="isfinite", expressions=[exp.cast(value.copy(), "DOUBLE")])
        self.made[prefix[:-2]] = exp.Case(ifs=[exp.If(this=finite, true=value)])
        return exp.column(prefix[:-2])


def _value(factor: Factor, tree: exp.Expr) -> Value | exp.Expr:
    if tree.find(exp.Placeholder):
        return tree.copy()
    if isinstance(tree, exp.Literal) and tree.is_string:
        return str(tree.this)
    try:
        return constant(tree)
    except ValueError:
        raise factor.error(tree, "a factor is called with numbers or $ parameters alone.") from None


@cache
def functions() -> Mapping[str, bool]:
    """DuckDB's functions by name, and whether each gives the same for the same arguments."""
    with duckdb.connect(":memory:") as connection:
        found = connection.execute(
            "SELECT lower(function_name), NOT bool_or(coalesce(stability = 'VOLATILE', false)) FROM duckdb_functions()"
            " GROUP BY 1"
        ).fetchall()
    return dict(found)


def _check_functions(factor: Factor, tree: exp.Expr, find: Find = lambda _: None) -> None:
    for part in tree.find_all(exp.IgnoreNulls):
        if not isinstance(part.this, exp.FirstValue | exp.LastValue | exp.NthValue | exp.Lag | exp.AnyValue):
            # The parser gives those of a window within a window to the outer one.
            raise factor.error(part, "IGNORE NULLS within another window: give that part a step of its own.")
    for node in tree.find_all(exp.Func):
        name = node.name.lower() if isinstance(node, exp.Anonymous) else node.sql_name().lower()
        if name == "rand" or not functions().get(name, True):
            raise factor.error(node, f"{name}() gives another value each time: no factor may call it.")
        if not isinstance(node, exp.Anonymous):
            continue
        if name in helpers():
            helper = helpers()[name]
            if len(node.expressions) != len(helper.parameters):
                raise factor.error(
                    node,
                    f"{name} takes ({', '.join(helper.parameters)}), and is given {len(node.expressions)} arguments.",
                )
        elif name not in functions() and find(node.name) is None:
            near = get_close_matches(name, [*helpers(), *functions()], n=3, cutoff=0.6)
            hint = f" Did you mean {', '.join(near)}?" if near else ""
            raise factor.error(node, f"there is no function {node.name}.{hint}")
