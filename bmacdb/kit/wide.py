"""All symbols at once: what a factor module is given in place of one symbol's frame.

`Frame` stands for a frame of candles, `Column` for one of its columns; inside, a column is a DataFrame of bars ×
windows. pandas computes such a frame column by column with the code that it has for a single one, so values are the
same to the last bit. Only what acts on each column alone is there; with anything else (reductions, rows, loops) the
module raises, and is computed symbol by symbol as usual.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial, reduce
from numbers import Number
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bmacdb.kit import moving
from bmacdb.kit.moving import Bounds, expanding_bounds, rolling_bounds

__all__ = ["Column", "Frame", "NotAlike", "Table", "Values", "kind_of"]

Table = npt.NDArray[Any]
"""Bars × windows, or windows × bars."""


class NotAlike(TypeError):
    """It does not mean the same for all symbols at once."""


_OPERATORS = {
    **{name: getattr(operator, name) for name in ("add", "sub", "mul", "truediv", "pow")},
    **{name: getattr(operator, name) for name in ("lt", "le", "gt", "ge", "eq", "ne", "and_", "or_", "xor")},
}
_METHODS = re.compile(
    "shift|diff|pct_change|abs|round|clip|fillna|ffill|bfill|where|mask|is(na|null)|not(na|null)|astype|replace|rank"
    "|cum(sum|prod|max|min)|r?(add|sub|mul|div|truediv|pow)|subtract|multiply|divide|[lg][te]|eq|ne"
)
_WINDOWS = re.compile("mean|sum|std|var|min|max|median|skew|kurt|quantile|count|rank|sem|corr|cov")
_FUNCTIONS = (np.where, np.clip, np.nan_to_num, np.round, np.select, np.zeros_like, np.ones_like, np.full_like)


class Values:
    """An array of one column's values, as `df["close"].values` gives it."""

    __hash__ = None  # type: ignore[assignment]  # as that of an array
    __slots__ = ("frame",)

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def shape(self) -> tuple[int]:
        return (len(self.frame),)

    @property
    def size(self) -> int:
        return len(self.frame)

    def __bool__(self) -> bool:
        raise NotAlike("the truth of a column")

    def __array__(self, *_: object, **__: object) -> Table:
        raise NotAlike("a column as a plain array")

    def __iter__(self) -> Iterator[object]:
        raise NotAlike("a loop over the rows of a column")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: object, **options: object) -> Values:
        if method != "__call__" or options:
            raise NotAlike(f"{ufunc.__name__}.{method}")
        return kind_of(inputs)(ufunc(*(self._operand(value) for value in inputs)))

    def __array_function__(
        self, function: Callable[..., Any], _: object, args: Sequence[Any], options: Mapping[str, Any]
    ) -> Values:
        if function not in _FUNCTIONS:
            raise NotAlike(f"numpy.{function.__name__}")
        plain = {name: self._array(value) for name, value in options.items()}
        return Values(self._framed(function(*map(self._array, args), **plain)))

    def _framed(self, array: Table) -> pd.DataFrame:
        return pd.DataFrame(array, index=self.frame.index, columns=self.frame.columns, copy=False)

    def _operand(self, value: object) -> Any:
        """What pandas is given for it: a frame for a column, and for an array of one value a bar."""
        if isinstance(value, Values):
            return value.frame
        if isinstance(value, np.ndarray) and value.shape == (len(self.frame),):
            return self._framed(np.broadcast_to(value, self.frame.shape[::-1]).T)
        if value is None or isinstance(value, Number | str | type | np.dtype | np.generic):
            return value
        raise NotAlike(f"{type(value).__name__} with a column")

    def _array(self, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [self._array(one) for one in value]
        found = self._operand(value)
        return found.to_numpy() if isinstance(found, pd.DataFrame) else found

    def __neg__(self) -> Values:
        return type(self)(-self.frame)

    def __invert__(self) -> Values:
        return type(self)(~self.frame)

    def __abs__(self) -> Values:
        return type(self)(self.frame.abs())

    def astype(self, kind: object) -> Values:
        return type(self)(self.frame.astype(kind))

    def copy(self) -> Values:
        return type(self)(self.frame)


def kind_of(values: Sequence[object]) -> type[Values]:
    """A series where one takes part, else an array."""
    return Column if any(isinstance(value, Column) for value in values) else Values


def _apply(operation: Callable[[Any, Any], Any], left: Values, right: object) -> Values:
    return kind_of((left, right))(operation(left.frame, left._operand(right)))


def _reversed(operation: Callable[[Any, Any], Any], right: Values, left: object) -> Values:
    return kind_of((left, right))(operation(right._operand(left), right.frame))


for _name, _operation in _OPERATORS.items():
    _bare = _name.rstrip("_")
    setattr(Values, f"__{_bare}__", lambda left, right, of=_operation: _apply(of, left, right))
    setattr(Values, f"__r{_bare}__", lambda right, left, of=_operation: _reversed(of, right, left))


class Column(Values):
    """A series: one column of the frame."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Callable[..., Column]:
        if not _METHODS.fullmatch(name):
            raise AttributeError(f"{name} of a column, for all symbols at once")
        return partial(self._call, getattr(self.frame, name))

    def _call(self, method: Callable[..., Any], /, *args: object, **options: object) -> Column:
        if options.get("inplace") or options.get("axis"):
            raise NotAlike("a column that is changed in place, or across")
        named = {name: self._argument(value) for name, value in options.items()}
        return Column(method(*map(self._argument, args), **named))

    def _argument(self, value: object) -> Any:
        if isinstance(value, list | tuple) and all(isinstance(one, Number) for one in value):
            return value
        if isinstance(value, dict) and all(isinstance(one, Number) for pair in value.items() for one in pair):
            return value
        return self._operand(value)

    @property
    def values(self) -> Values:
        return Values(self.frame)

    def to_numpy(self) -> Values:
        return Values(self.frame)

    @property
    def index(self) -> pd.Index:
        return self.frame.index

    def rename(self, _: str) -> Column:
        return self

    def rolling(self, window: int, min_periods: int | None = None, center: bool = False, **options: Any) -> _Moving:
        windows = self.frame.rolling(window, min_periods=min_periods, center=center, **options)
        if center or options or not isinstance(window, int | np.integer):
            return _Moving(self, windows)
        least = window if min_periods is None else min_periods
        return _Moving(self, windows, rolling_bounds(len(self), window), least)

    def expanding(self, min_periods: int = 1) -> _Moving:
        return _Moving(self, self.frame.expanding(min_periods), expanding_bounds(len(self)), min_periods)

    def ewm(self, *args: Any, **options: Any) -> _Moving:
        return _Moving(self, self.frame.ewm(*args, **options))


class _Moving:
    """Windows over a column: rolling, expanding, exponentially weighted; the latter has no bounds."""

    def __init__(self, column: Column, windows: Any, bounds: Bounds | None = None, least: int = 0) -> None:
        self._column = column
        self._windows = windows
        self._bounds = bounds
        self._least = least

    def __getattr__(self, name: str) -> Callable[..., Column]:
        if not _WINDOWS.fullmatch(name):
            raise AttributeError(f"{name} of windows, for all symbols at once")
        return partial(self._call, name)

    def _call(self, name: str, /, *args: object, **options: object) -> Column:
        found = None
        if name in ("corr", "cov"):
            other = args[0] if args else options.get("other")
            if not isinstance(other, Values):
                raise NotAlike(f"{name} of a column with itself")
            if name == "corr" and self._bounds and len(args) + len(options) == 1:
                found = moving.corr(self._column.frame, other.frame, self._bounds, self._least)
            options["pairwise"] = False
        elif self._bounds and not args and options.keys() <= {"ddof"}:
            found = moving.move(self._column.frame, name, self._bounds, self._least, **options)  # type: ignore[arg-type]
        if found is None:
            named = {key: self._column._operand(value) for key, value in options.items()}
            found = getattr(self._windows, name)(*map(self._column._operand, args), **named)
        return Column(found)


class Frame:
    """The candles of all symbols: `load(name)` gives a column of the record when it is first asked for."""

    def __init__(self, rows: int, names: Iterable[str], load: Callable[[str], Column]) -> None:
        self._rows = rows
        self._names = list(names)
        self._load = load
        self._made: dict[str, Column] = {}

    def __len__(self) -> int:
        return self._rows

    @property
    def index(self) -> pd.RangeIndex:
        return pd.RangeIndex(self._rows)

    @property
    def shape(self) -> tuple[int, int]:
        return self._rows, len(self._names)

    @property
    def columns(self) -> pd.Index:
        return pd.Index(self._names)

    def keys(self) -> pd.Index:
        return self.columns

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __bool__(self) -> bool:
        raise ValueError("the truth of a frame is ambiguous")

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def copy(self, deep: bool = True) -> Frame:
        other = Frame(self._rows, self._names, self._load)
        other._made = dict(self._made)
        return other

    def __getitem__(self, name: Any) -> Any:
        if isinstance(name, list):
            other = self.copy()
            other._names = [one for one in name if one in self or _missing(one)]
            return other
        if not isinstance(name, str):
            raise NotAlike("rows of a frame")
        if name not in self._names:
            _missing(name)
        if name not in self._made:
            self._made[name] = self._load(name)
        return self._made[name]

    def __getattr__(self, name: str) -> Column:
        if name.startswith("_") or name not in self._names:
            raise AttributeError(f"{name} of a frame, for all symbols at once")
        found: Column = self[name]
        return found

    def __setitem__(self, name: str, value: object) -> None:
        if not isinstance(name, str):
            raise NotAlike("several columns or rows at once")
        if isinstance(value, Values):
            made = Column(value.frame)
        else:
            like = self._like()
            found = like._operand(value)
            if isinstance(found, str | type) or found is None:
                raise NotAlike(f"a column of {type(value).__name__}")
            if not isinstance(found, pd.DataFrame):
                found = like._framed(np.full(like.frame.shape[::-1], found).T)
            made = Column(found)
        if name not in self._names:
            self._names.append(name)
        self._made[name] = made

    def _like(self) -> Column:
        """A column of the right shape."""
        return next(iter(self._made.values())) if self._made else self._load("close")

    def __delitem__(self, name: str) -> None:
        if name not in self._names:
            _missing(name)
        self._names.remove(name)
        self._made.pop(name, None)

    def pop(self, name: str) -> Column:
        found: Column = self[name]
        del self[name]
        return found

    def drop(
        self,
        labels: Any = None,
        *,
        axis: int | str = 0,
        columns: Any = None,
        inplace: bool = False,
        errors: str = "raise",
    ) -> Frame | None:
        if columns is None and axis in (1, "columns"):
            columns = labels
        if columns is None:
            raise NotAlike("rows that are dropped")
        left = self if inplace else self.copy()
        for name in [columns] if isinstance(columns, str) else columns:
            if name in left or errors == "raise":
                del left[name]
        return None if inplace else left

    @property
    def loc(self) -> _Places:
        return _Places(self)

    def max(self, axis: int = 0) -> Column:
        return self._across(axis, np.fmax)

    def min(self, axis: int = 0) -> Column:
        return self._across(axis, np.fmin)

    def sum(self, axis: int = 0) -> Column:
        return self._across(axis, lambda left, right: left.fillna(0) + right.fillna(0))

    def mean(self, axis: int = 0) -> Column:
        there = [self[name].notna() for name in self._names]
        return Column(self.sum(axis).frame / reduce(operator.add, [column.frame.astype(float) for column in there]))

    def _across(self, axis: int | str, function: Callable[[Any, Any], Any]) -> Column:
        if axis not in (1, "columns"):
            raise NotAlike("a reduction of columns")
        return Column(reduce(function, [self[name].frame for name in self._names]))


def _missing(name: str) -> bool:
    raise KeyError(name)


class _Places:
    """`df.loc[condition, "name"] = value`."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def __getitem__(self, key: Any) -> Any:
        rows, name = key if isinstance(key, tuple) else (key, None)
        if not isinstance(rows, slice) or rows != slice(None) or name is None:
            raise NotAlike("rows of a frame")
        return self._frame[name]

    def __setitem__(self, key: Any, value: Any) -> None:
        rows, name = key if isinstance(key, tuple) else (key, None)
        if isinstance(rows, slice) and rows == slice(None) and isinstance(name, str):
            self._frame[name] = value
            return
        if not isinstance(rows, Values) or not isinstance(name, str):
            raise NotAlike("rows of a frame")
        if name not in self._frame:
            self._frame[name] = np.nan
        column = self._frame[name]
        self._frame[name] = Column(column.frame.mask(rows.frame, rows._operand(value)))
