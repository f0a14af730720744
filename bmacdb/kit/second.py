"""A factor module a second time, with pandas, numpy and TA-Lib that take the columns of `bmacdb.kit.wide`.

What a module imports by these names is replaced in its second copy alone; the module itself is left as it is.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial, reduce
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from bmacdb.kit.wide import Column, Frame, NotAlike, Table, Values, kind_of

__all__ = ["again"]


class _Pandas:
    """pandas, with `Series(column)` and `concat([column, …], axis=1)`."""

    def __getattr__(self, name: str) -> Any:
        return getattr(pd, name)

    def Series(self, data: Any = None, *args: Any, **options: Any) -> Any:
        if isinstance(data, Values):
            return Column(data.frame)
        return pd.Series(data, *args, **options)

    def concat(self, objects: Any, **options: Any) -> Any:
        parts = list(objects)
        if not parts or not all(isinstance(part, Values) for part in parts):
            return pd.concat(parts, **options)
        if options != {"axis": 1}:
            raise NotAlike("columns one below the other")
        made = Frame(len(parts[0]), [], lambda _: Column(parts[0].frame))
        for number, part in enumerate(parts):
            made[str(number)] = part
        return made


class _Numpy:
    """numpy, with `max(array([column, …]), axis=0)`."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def array(self, data: Any, *args: Any, **options: Any) -> Any:
        if isinstance(data, Values):
            return Values(data.frame)
        if isinstance(data, list | tuple) and data and all(isinstance(one, Values) for one in data):
            return tuple(data)
        return np.array(data, *args, **options)

    def max(self, data: Any, axis: Any = None, **options: Any) -> Any:
        return self._across(np.max, np.maximum, data, axis, options)

    def min(self, data: Any, axis: Any = None, **options: Any) -> Any:
        return self._across(np.min, np.minimum, data, axis, options)

    def _across(self, function: Any, of_two: np.ufunc, data: Any, axis: Any, options: dict[str, Any]) -> Any:
        if not isinstance(data, list | tuple) or not any(isinstance(one, Values) for one in data):
            return function(data, axis=axis, **options)
        if axis != 0 or options:
            raise NotAlike(f"numpy.{function.__name__} along a column")
        return Values(reduce(of_two, [one.frame for one in data]))


class _TaLib:
    """TA-Lib, window by window."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._module, name)
        return partial(_each, found) if name.isupper() and callable(found) else found


def _each(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    columns = [value for value in (*args, *options.values()) if isinstance(value, Values)]
    if not columns:
        return function(*args, **options)
    like, kind = columns[0], kind_of(columns)
    inputs = [_table(value) if isinstance(value, Values) else value for value in args]
    named = {key: _table(value) if isinstance(value, Values) else value for key, value in options.items()}
    made: list[Table] = []
    for number in range(like.frame.shape[1]):
        results = function(*(_row(value, number) for value in inputs), **{k: _row(v, number) for k, v in named.items()})
        several = results if isinstance(results, tuple) else (results,)
        made = made or [np.empty(like.frame.shape[::-1], dtype=one.dtype) for one in several]
        for table, one in zip(made, several, strict=True):
            table[number] = one
    found = tuple(kind(like._framed(table.T)) for table in made)
    return found if len(found) > 1 else found[0]


def _table(column: Values) -> Table:
    return np.ascontiguousarray(column.frame.to_numpy().T)


def _row(value: Any, number: int) -> Any:
    return value[number] if isinstance(value, np.ndarray) and value.ndim == 2 else value


def again(module: ModuleType) -> ModuleType:
    """The module once more, with numpy, pandas and TA-Lib that take columns. Raises whatever its import raises."""
    found = importlib.util.find_spec(module.__name__)
    if found is None or found.loader is None:
        raise NotAlike(f"{module.__name__} cannot be loaded again")
    second = importlib.util.module_from_spec(found)
    found.loader.exec_module(second)
    for name, value in list(vars(second).items()):
        if value is pd:
            setattr(second, name, _Pandas())
        elif value is np:
            setattr(second, name, _Numpy())
        elif isinstance(value, ModuleType) and value.__name__ == "talib":
            setattr(second, name, _TaLib(value))
    return second
