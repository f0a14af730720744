"""Factors as Python modules, with the community's signatures.

signal(*args)                      args = (df, n, factor_name): assigns df[factor_name], returns df
signal(df, n, diff_num, name)      the neutral framework's older form; diff_num is 0
signal_multi_params(df, params)    -> {str(param): Series}; used in preference where it is there
is_cross = True, get_factor_list(n), signal(df, n, factor_name)     across the market
LOOKBACK = 100 or lambda n: n + 1  candles it looks back, the newest included; num_candles without it
"""

from __future__ import annotations

import importlib
import inspect
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bmacdb.errors import UsageError
from bmacdb.factors.call import Call, spell

__all__ = ["Failure", "PythonCall", "PythonFactor", "apply", "apply_section", "grouped"]

Column = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Failure:
    """A factor that raised: the symbol it was first seen at (None: at import), and the traceback."""

    call: Call
    symbol: str | None
    traceback: str

    def __str__(self) -> str:
        at = f" at {self.symbol}" if self.symbol else ""
        return f"factor {spell(self.call)} failed{at}; its column is null.\n{self.traceback.rstrip()}"


@dataclass(frozen=True, slots=True)
class PythonFactor:
    """A module that computes a factor.

    `windowed`: a row's value is a function of its look-back alone, to the last bit, so that one pass over a long frame
    gives what a frame per run time would. `older`: signal is of the form (df, n, diff_num, factor_name).
    """

    name: str
    module: ModuleType
    is_cross: bool
    windowed: bool
    older: bool = False

    def __reduce__(self) -> tuple[Callable[..., PythonFactor], tuple[object, ...]]:
        """By the name of its module, which is imported where it arrives; all else is bound already."""
        return _arrived, (self.name, self.module.__name__, self.is_cross, self.windowed, self.older)

    @classmethod
    def of(cls, name: str, module: ModuleType) -> PythonFactor:
        """The factor of a module. Raises UsageError when it has no signal, or wants data there is none of."""
        if not callable(getattr(module, "signal", None)) and not callable(getattr(module, "signal_multi_params", None)):
            raise UsageError(
                f"factor {name}: {getattr(module, '__file__', name)} has neither signal(*args) nor "
                "signal_multi_params(df, param_list)."
            )
        if wants := getattr(module, "extra_data_dict", None):
            raise UsageError(
                f"factor {name}: it asks for extra data ({', '.join(map(str, wants))}), which the record has not. "
                "Read that data in the module itself, and leave extra_data_dict out."
            )
        is_cross = bool(getattr(module, "is_cross", False))
        if is_cross and not callable(getattr(module, "get_factor_list", None)):
            raise UsageError(f"factor {name}: is_cross = True needs get_factor_list(n), the factors it compares.")
        windowed = bool(getattr(module, "WINDOWED", False))
        return cls(name, module, is_cross, windowed, _takes_four(getattr(module, "signal", None)))

    def bind(self, call: Call) -> PythonCall:
        """This factor with a parameter. Raises UsageError for a look-back that is no positive number of candles."""
        lookback: object = getattr(self.module, "LOOKBACK", 1 if self.is_cross else None)
        if callable(lookback):
            lookback = lookback(call.param)
        if lookback is not None and (isinstance(lookback, bool) or not isinstance(lookback, int) or lookback < 1):
            raise UsageError(f"factor {spell(call)}: LOOKBACK is {lookback!r}; it must be 1 candle or more.")
        return PythonCall(call, self, lookback)

    def needs(self, call: Call) -> Iterable[Sequence[object]]:
        """What a factor across the market compares, as the module says."""
        found: Iterable[Sequence[object]] = self.module.get_factor_list(call.param)
        return found


def _arrived(name: str, module: str, is_cross: bool, windowed: bool, older: bool) -> PythonFactor:
    return PythonFactor(name, importlib.import_module(module), is_cross, windowed, older=older)


@dataclass(frozen=True, slots=True)
class PythonCall:
    """A Python factor with its parameter. `lookback` None: the window of num_candles."""

    call: Call
    factor: PythonFactor
    lookback: int | None

    @property
    def param(self) -> object:
        return self.call.param


def apply(frame: pd.DataFrame, calls: Sequence[PythonCall], symbol: str) -> tuple[dict[Call, Column], list[Failure]]:
    """The columns of `calls` over one symbol's rows, and what failed. `frame` is left as it is: each gets a copy."""
    found: dict[Call, Column] = {}
    failures: list[Failure] = []
    several: dict[str, list[PythonCall]] = {}
    for call in calls:
        if callable(getattr(call.factor.module, "signal_multi_params", None)):
            several.setdefault(call.factor.name, []).append(call)
            continue
        try:
            found[call.call] = _column(_signal(frame, call)[call.call.column], frame)
        except Exception:  # a module of the user's may raise anything; the others are still computed
            failures.append(Failure(call.call, symbol, traceback.format_exc(limit=-3)))
    for group in several.values():
        try:
            # Some modules look a parameter up as it was given, some as text: the dictionary is read by text.
            results = group[0].factor.module.signal_multi_params(_copy(frame), [call.param for call in group])
            texts = {str(key): value for key, value in dict(results).items()}
            for call in group:
                found[call.call] = _column(texts[str(call.param)], frame)
        except Exception:
            text = traceback.format_exc(limit=-3)
            failures += [Failure(call.call, symbol, text) for call in group]
    return found, failures


def apply_section(frame: pd.DataFrame, call: PythonCall) -> tuple[Column | None, list[Failure]]:
    """The column of a factor across the market, over the rows of all symbols."""
    try:
        return _column(_signal(frame, call)[call.call.column], frame), []
    except Exception:
        return None, [Failure(call.call, None, traceback.format_exc(limit=-3))]


_COPIES_LAZILY = int(pd.__version__.split(".")[0]) >= 3


def _copy(frame: pd.DataFrame) -> pd.DataFrame:
    # From pandas 3 on a shallow copy is copied as soon as either side is written to.
    return frame.copy(deep=not _COPIES_LAZILY)


def _takes_four(signal: Callable[..., Any] | None) -> bool:
    """Whether it is of the form (df, n, diff_num, factor_name); one with *args shows it only when it is called."""
    if signal is None:
        return False
    try:
        parameters = inspect.signature(signal).parameters.values()
    except (TypeError, ValueError):
        return False
    needed = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty]
    return len(needed) == 4


def _signal(frame: pd.DataFrame, call: PythonCall) -> pd.DataFrame:
    signal = call.factor.module.signal
    name = call.call.column
    older = (call.param, 0, name)
    if call.factor.older:
        result = signal(_copy(frame), *older)
    else:
        try:
            result = signal(_copy(frame), call.param, name)
        except IndexError:  # args[3] of the older form
            try:
                result = signal(_copy(frame), *older)
            except Exception:
                result = None
            if not isinstance(result, pd.DataFrame) or name not in result:
                raise
    if not isinstance(result, pd.DataFrame):
        raise TypeError(f"signal returned {type(result).__name__}, and must return the frame")
    if name not in result:
        raise KeyError(f"signal returned a frame without its column {name!r}")
    return result


def _column(values: Any, frame: pd.DataFrame) -> Column:
    """A column of floats, row by row of `frame`; NaN where it is not finite, or the module dropped the row."""
    if isinstance(values, pd.Series):
        if len(values) != len(frame) or not values.index.equals(frame.index):
            values = values.reindex(frame.index)
        plain = values.dtype == np.float64
        array = values.to_numpy() if plain else values.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        array = np.asarray(values, dtype=np.float64)
        if array.shape != (len(frame),):
            raise ValueError(f"the result has shape {array.shape}; the frame has {len(frame)} rows")
    return np.where(np.isfinite(array), array, np.nan)


def grouped(failures: Iterable[Failure]) -> Mapping[Call, Failure]:
    """The first failure of each factor: a traceback is told once."""
    first: dict[Call, Failure] = {}
    for failure in failures:
        first.setdefault(failure.call, failure)
    return first
