"""A factor's expression, computed on a grid for all bars and symbols at once.

Every element is an array of (bars, symbols), NaN where it is null: `close[pos - n]` is the close of n bars before, a
slice is a list of such arrays, and a lambda goes over them one after the other.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np

from bmacdb.errors import UsageError
from bmacdb.factor.call import spell
from bmacdb.factor.expression import Beyond, Unsupported, parse
from bmacdb.factor.grid import AGGREGATES, Array, Grid, aggregate
from bmacdb.factor.template import CANDLE_COLUMNS, FUNDING_COLUMNS, Bound

__all__ = ["FUNCTIONS", "on_grid", "understood"]

Value = Any
"""A number, an array, or one of the below; a struct is a dict, an element of zipped lists a tuple."""


@dataclass(frozen=True, slots=True)
class _Place:
    """`back` bars before the one that is computed."""

    back: int


@dataclass(frozen=True, slots=True)
class _Column:
    name: str


@dataclass(frozen=True, slots=True)
class _Window:
    """A slice of a column."""

    name: str
    oldest: int
    newest: int

    def __len__(self) -> int:
        return self.oldest - self.newest + 1


@dataclass(frozen=True, slots=True)
class _Made:
    """Any other list, its elements made when they are asked for. `there`: which of them it has; all when None."""

    length: int
    item: Callable[[int], Value]
    there: Callable[[int], Array] | None = None

    def __len__(self) -> int:
        return self.length


@dataclass(frozen=True, slots=True)
class _Function:
    names: tuple[str, ...]
    body: ast.expr
    known: Mapping[str, Value]


_OPERATORS: Mapping[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: lambda one, other: np.less(one, other) | np.greater(one, other),  # what is missing is not unequal
    ast.And: np.logical_and,
    ast.Or: np.logical_or,
}
_NUMERIC: Mapping[str, Callable[..., Any]] = {
    "abs": np.abs,
    "ceil": np.ceil,
    "exp": np.exp,
    "floor": np.floor,
    "isfinite": np.isfinite,
    "ln": np.log,
    "sign": np.sign,
    "sqrt": np.sqrt,
    "greatest": lambda *values: reduce(np.fmax, values),
    "least": lambda *values: reduce(np.fmin, values),
}


_OF_LISTS = (
    *("list_transform", "list_filter", "list_reduce", "list_reverse", "list_concat", "list_zip", "list_position"),
    *("range", "nullif"),
)
FUNCTIONS = frozenset((*_NUMERIC, *AGGREGATES, *_OF_LISTS))
"""The functions that an expression may call here; any other is DuckDB's (`lists`)."""


def on_grid(bound: Bound, grid: Grid, first: int) -> Array:
    """The factor at the bars of `grid` from `first` on; the grid keeps its series for other factors. NaN is null.

    Raises Unsupported where the expression asks for more than is done here.
    """
    with np.errstate(all="ignore"):
        names: dict[str, str] = {name: name for name in grid.columns}
        for name, text in bound.series:
            # Equal series of several factors have one key: the text, with the keys of what it is made from.
            key = "; ".join([text, *(f"{known} = {names[known]}" for known, _ in bound.series if known in names)])
            if key not in grid.columns:
                try:
                    made = _Evaluation(grid, names, "t", 0).value(parse(text), {})
                except Beyond as exc:  # only of its first elements, which nobody need read
                    raise Unsupported(f"series {name}: {exc}") from exc
                grid.columns[key] = _finite(made, (grid.bars, grid.symbols))
            names[name] = key
        evaluation = _Evaluation(grid, names, "pos", first, {name: parse(text) for name, text in bound.lets})
        found = _finite(evaluation.value(parse(bound.expression), {}), (grid.bars - first, grid.symbols))
        return np.where(grid.whole(bound.lookback, first), found, np.nan) if bound.whole else found


def understood(bound: Bound) -> bool:
    """Whether `on_grid` can do it, which is tried on one symbol and no more bars than the look-back.

    Raises UsageError where the expression reads more bars than that.
    """
    columns = {name: np.ones((bound.lookback, 1)) for name in (*CANDLE_COLUMNS, *FUNDING_COLUMNS)}
    try:
        on_grid(bound, Grid(columns), bound.lookback - 1)
    except Beyond as exc:
        raise UsageError(f"factor {spell(bound.call)}: {exc}. Correct `-- lookback:`.") from exc
    except Unsupported:
        return False
    return True


def _finite(values: Value, shape: tuple[int, int]) -> Array:
    if isinstance(values, _Place | _Column | _Window | _Made | _Function | dict | tuple | None):
        raise Unsupported("the expression is no number")
    found = np.broadcast_to(np.asarray(values, dtype=np.float64), shape)
    finite = np.isfinite(found)
    return found if finite.all() else np.where(finite, found, np.nan)


class _Evaluation:
    """The names in an expression, and the bars at which it is computed."""

    def __init__(
        self, grid: Grid, names: Mapping[str, str], place: str, first: int, lets: Mapping[str, ast.expr] | None = None
    ) -> None:
        self._grid = grid
        self._names = names
        self._place = place
        self._first = first
        self._lets = lets or {}
        self._made: dict[str, Value] = {}

    def value(self, node: ast.expr, known: Mapping[str, Value]) -> Value:
        """Of a part of the expression; `known` are the names of the lambdas around it."""
        match node:
            case ast.Constant(value=int() | float() as number):
                return number
            case ast.Constant(value=None):
                return np.nan
            case ast.Name(id=name):
                return self._named(name, known)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self._number(operand, known)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return self._binary(op, self.value(left, known), self.value(right, known))
            case ast.Compare(left=left, ops=[ast.IsNot()], comparators=[ast.Constant(value=None)]):
                return ~np.isnan(self._number(left, known))
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _OPERATORS:
                return _OPERATORS[type(op)](self._number(left, known), self._number(right, known))
            case ast.BoolOp(op=op, values=values):
                return reduce(_OPERATORS[type(op)], (self._number(value, known) for value in values))
            case ast.Subscript(
                value=value, slice=ast.Slice(lower=ast.expr() as low, upper=ast.expr() as high, step=None)
            ):
                return _cut(self.value(value, known), self.value(low, known), self.value(high, known))
            case ast.Subscript(value=value, slice=place):
                return self._element(self.value(value, known), self.value(place, known))
            case ast.Attribute(value=value, attr=name):
                struct = self.value(value, known)
                if isinstance(struct, dict) and name in struct:
                    return struct[name]
            case ast.Dict(keys=keys, values=values):
                return {
                    key.value: self._number(value, known)
                    for key, value in zip(keys, values, strict=True)
                    if isinstance(key, ast.Constant)
                }
            case ast.List(elts=elements):
                return _Made(len(elements), lambda i: self._number(elements[i], known))
            case ast.Lambda(args=args, body=body):
                return _Function(tuple(arg.arg for arg in args.args), body, known)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                return self._call(name.lower(), args, known)
        raise Unsupported(f"{ast.unparse(node)} is not understood")

    def _named(self, name: str, known: Mapping[str, Value]) -> Value:
        if name in known:
            return known[name]
        if name == self._place:
            return _Place(0)
        if name in self._lets:
            if name not in self._made:
                self._made[name] = self.value(self._lets[name], {})
            return self._made[name]
        if name in self._names:
            return _Column(self._names[name])
        raise Unsupported(f"{name} is not known")

    def _number(self, node: ast.expr, known: Mapping[str, Value]) -> Any:
        value = self.value(node, known)
        if not isinstance(value, int | float | np.ndarray | np.generic):
            raise Unsupported(f"{ast.unparse(node)} is no number")
        return value

    def _binary(self, op: ast.operator, left: Value, right: Value) -> Value:
        if isinstance(left, _Place) and isinstance(op, ast.Add | ast.Sub):
            step = _whole(right)
            return _Place(left.back - step if isinstance(op, ast.Add) else left.back + step)
        for value in (left, right):
            if not isinstance(value, int | float | np.ndarray | np.generic):
                raise Unsupported("arithmetic with what is no number")
        try:
            return _OPERATORS[type(op)](left, right)
        except ZeroDivisionError:
            return np.nan

    def _element(self, value: Value, place: Value) -> Value:
        match value:
            case _Column(name) if isinstance(place, _Place):
                return self._grid.back(name, place.back, self._first)
            case tuple():
                return value[_whole(place) - 1]
            case _Window() | _Made():
                return self._of_list(value, _whole(place))
        raise Unsupported("an element of what is no list")

    def _of_list(self, values: _Window | _Made, place: int) -> Value:
        made = self._list(values)
        if made.there is not None:
            if place != -1:
                raise Unsupported("an element of a filtered list other than its last")
            return self._last(made)
        index = place - 1 if place > 0 else made.length + place
        return made.item(index) if 0 <= index < made.length else np.nan

    def _last(self, made: _Made) -> Value:
        assert made.there is not None
        found: Value = np.nan
        for index in range(made.length):
            found = _choose(made.there(index), made.item(index), found)
        return found

    def _list(self, values: Value) -> _Made:
        if isinstance(values, _Window):
            window = values
            return _Made(len(window), lambda i: self._grid.back(window.name, window.oldest - i, self._first))
        if not isinstance(values, _Made):
            raise Unsupported("a function of lists of what is no list")
        return values

    def _apply(self, function: Value, *values: Value) -> Value:
        if not isinstance(function, _Function) or len(function.names) > len(values):
            raise Unsupported("a function of lists without its lambda")
        return self.value(function.body, {**function.known, **dict(zip(function.names, values, strict=False))})

    def _call(self, name: str, args: list[ast.expr], known: Mapping[str, Value]) -> Value:
        if name in _NUMERIC:
            return _NUMERIC[name](*(self._number(arg, known) for arg in args))
        values = [self.value(arg, known) for arg in args]
        match name, values:
            case _, [_Window() as window] if name in AGGREGATES:
                return self._grid.window(name, window.name, window.oldest, window.newest, self._first)
            case _, [_Made() as made] if name in AGGREGATES:
                return aggregate(name, (np.asarray(value, dtype=np.float64) for value in _elements(made)))
            case "case", [_, _, *_]:
                return _case(values)
            case "nullif", [_Window() | _Made(), _Made(length=0)]:
                return values[0]  # an empty list yields null in any case
            case "range", [low, high]:
                start = _whole(low)
                return _Made(_whole(high) - start, lambda i: start + i)
            case "list_transform", [many, function]:
                source = self._list(many)
                return _Made(source.length, lambda i: self._apply(function, source.item(i), i + 1), source.there)
            case "list_filter", [many, function]:
                whole = self._list(many)
                return _Made(
                    whole.length, whole.item, lambda i: _condition(self._apply(function, whole.item(i), i + 1))
                )
            case "list_reduce", [many, function]:
                return self._reduce(self._list(many), function)
            case "list_reverse", [many]:
                forth = self._list(many)
                return _Made(forth.length, lambda i: forth.item(forth.length - 1 - i))
            case "list_concat", [one, other]:
                head, tail = self._list(one), self._list(other)
                size = head.length
                return _Made(size + tail.length, lambda i: head.item(i) if i < size else tail.item(i - size))
            case "list_zip", [_, _, *_]:
                lists = [self._list(value) for value in values]
                shortest = min(one.length for one in lists)
                return _Made(shortest, lambda i: tuple(one.item(i) for one in lists))
            case "list_position", [many, sought]:
                searched = self._list(many)
                found: Value = np.nan
                for index in reversed(range(searched.length)):
                    found = np.where(np.equal(searched.item(index), sought), index + 1.0, found)
                return found
        raise Unsupported(f"{name} is no function of factors in SQL, or not of these arguments")

    def _reduce(self, many: _Made, function: Value) -> Value:
        if not many.length:
            return np.nan
        found = many.item(0)
        if many.there is None:
            for index in range(1, many.length):
                found = self._apply(function, found, many.item(index))
            return found
        begun = many.there(0)
        found = _choose(begun, found, np.nan)
        for index in range(1, many.length):
            there, item = many.there(index), many.item(index)
            found = _choose(there & begun, self._apply(function, found, item), _choose(there & ~begun, item, found))
            begun = begun | there
        return found


def _condition(value: Value) -> Array:
    return np.asarray(value, dtype=bool)


def _whole(value: Value) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise Unsupported("a place that is no whole number") from None


def _cut(value: Value, low: Value, high: Value) -> _Window:
    match value, low, high:
        case _Column(name), _Place(oldest), _Place(newest) if oldest >= newest >= 0:
            return _Window(name, oldest, newest)
        case _Window(name, oldest, _), int() | np.integer(), int() | np.integer() if 1 <= low <= high <= len(value):
            return _Window(name, oldest - int(low) + 1, oldest - int(high) + 1)
    raise Unsupported("a slice of what cannot be sliced so")


def _elements(made: _Made) -> Iterable[Value]:
    for index in range(made.length):
        item = made.item(index)
        if not isinstance(item, int | float | np.ndarray | np.generic):
            raise Unsupported("an aggregate of what are no numbers")
        yield item if made.there is None else np.where(made.there(index), item, np.nan)


def _case(values: list[Value]) -> Value:
    otherwise = values[-1] if len(values) % 2 else np.nan
    pairs = list(pairwise(values))[: len(values) - len(values) % 2 : 2]
    return reduce(lambda found, pair: _choose(pair[0], pair[1], found), reversed(pairs), otherwise)


def _choose(condition: Value, value: Value, otherwise: Value) -> Value:
    """Element by element `value` where the condition holds; of structs, member by member."""
    if isinstance(value, dict):
        return {
            name: np.where(condition, part, otherwise[name] if isinstance(otherwise, dict) else otherwise)
            for name, part in value.items()
        }
    if isinstance(otherwise, dict) or not isinstance(value, int | float | np.ndarray | np.generic):
        raise Unsupported("a choice between what are no numbers")
    return np.where(condition, value, otherwise)
