"""Calls factor modules with frames, and brings what they return back to the rows that it belongs to."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bmacdb.factors.call import Call
from bmacdb.factors.module import Failure, PythonCall

__all__ = ["apply", "apply_section", "floats", "signal"]

Column = npt.NDArray[np.float64]

_COPIES_LAZILY = int(pd.__version__.split(".")[0]) >= 3


def apply(
    frame: pd.DataFrame, calls: Sequence[PythonCall], symbol: str, helpers: dict[str, pd.Series] | None = None
) -> tuple[dict[Call, Column], list[Failure]]:
    """The columns of `calls` over one symbol's rows, and what failed.

    `frame` has a RangeIndex and is left as it is: each factor gets a copy. `helpers` receives the columns that modules
    add besides their own.
    """
    found: dict[Call, Column] = {}
    failures: list[Failure] = []
    several: dict[str, list[PythonCall]] = {}
    for call in calls:
        if callable(getattr(call.factor.module, "signal_multi_params", None)):
            several.setdefault(call.factor.name, []).append(call)
            continue
        try:
            result = signal(_copy(frame), call, call.factor.module)
            found[call.call] = _column(result, call.call.column, frame)
            if helpers is not None:
                helpers |= _added(result, call.call.column, frame)
        except Exception:  # a module of the user's may raise anything; the others are still computed
            failures.append(Failure(call.call, symbol, traceback.format_exc(limit=-3)))
    for group in several.values():
        try:
            # Some modules look a parameter up as it was given, some as text: the dictionary is read by text.
            given = [call.param for call in group]
            results = group[0].factor.module.signal_multi_params(_copy(frame), given)
            texts = {str(key): value for key, value in dict(results).items()}
            for call, param in zip(group, given, strict=True):
                found[call.call] = floats(_placed(texts[str(param)], frame))
        except Exception:
            text = traceback.format_exc(limit=-3)
            failures += [Failure(call.call, symbol, text) for call in group]
    return found, failures


def apply_section(frame: pd.DataFrame, call: PythonCall) -> tuple[Column | None, list[Failure]]:
    """The column of a factor across the market, over the rows of all symbols."""
    try:
        return _column(signal(_copy(frame), call, call.factor.module), call.call.column, frame), []
    except Exception:
        return None, [Failure(call.call, None, traceback.format_exc(limit=-3))]


def _copy(frame: pd.DataFrame) -> pd.DataFrame:
    # From pandas 3 on a shallow copy is copied as soon as either side is written to.
    return frame.copy(deep=not _COPIES_LAZILY)


def signal(frame: Any, call: PythonCall, module: Any) -> Any:
    """What the module returns, which holds the factor's column. Raises TypeError and KeyError, and what it raises."""
    name = call.call.column
    match call.factor.arguments:
        case 4:
            result = module.signal(frame, call.param, 0, name)
        case 1:
            result = module.signal((frame, call.param, 0, name))
        case _:
            result = module.signal(frame, call.param, name)
    if not isinstance(result, pd.DataFrame | type(frame)):
        raise TypeError(f"signal returned {type(result).__name__}, and must return the frame")
    if name not in result:
        raise KeyError(f"signal returned a frame without its column {name!r}")
    return result


def _column(result: pd.DataFrame, name: str, frame: pd.DataFrame) -> Column:
    return floats(_placed(result[name], frame, result.get("candle_begin_time")))


def _added(result: pd.DataFrame, name: str, frame: pd.DataFrame) -> Mapping[str, pd.Series]:
    times = result.get("candle_begin_time")
    return {
        helper: _placed(result[helper], frame, times)
        for helper in result.columns
        if isinstance(helper, str) and helper != name and helper not in frame.columns
    }


def _placed(values: Any, frame: pd.DataFrame, times: pd.Series | None = None) -> pd.Series:
    """The values row by row of `frame`, null where the module dropped the row.

    By the index when it holds row numbers, else by candle_begin_time, else as they stand when none is missing.
    """
    count = len(frame)
    if not isinstance(values, pd.Series):
        array = np.asarray(values)
        if array.shape not in ((), (count,)):
            raise ValueError(f"the result has shape {array.shape}; the frame has {count} rows")
        return pd.Series(np.broadcast_to(array, (count,)))
    if len(values) == count and isinstance(values.index, pd.RangeIndex) and values.index.equals(frame.index):
        return values
    begins = pd.Index(frame["candle_begin_time"]) if "candle_begin_time" in frame else None
    for labels, among in ((times, begins), (values.index, frame.index), (values.index, begins)):
        if labels is None or among is None or not among.is_unique:
            continue
        places = among.get_indexer(pd.Index(labels)) if _alike(pd.Index(labels), among) else np.array([-1])
        if len(places) == len(values) and (places >= 0).all() and len(np.unique(places)) == len(places):
            return pd.Series(values.to_numpy(), index=places).reindex(frame.index)
    if len(values) == count:
        return values.set_axis(frame.index)
    raise ValueError(
        f"the result has {len(values)} rows and the frame {count}; neither its index nor candle_begin_time says which"
    )


def _alike(labels: pd.Index, among: pd.Index) -> bool:
    return bool(labels.dtype == among.dtype)


def floats(values: pd.Series) -> Column:
    """Floats, NaN where it is not finite."""
    plain = values.dtype == np.float64
    array = values.to_numpy() if plain else values.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(array), array, np.nan)
