"""From a plan of factors to a table of values: grids of all symbols for SQL, one frame per symbol for Python.

A value at a run time is computed from the bars in [run_time - lookback, run_time) and nothing else, whether it is the
only run time asked for or one of a year.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from bmacdb.factors.call import Call, spell
from bmacdb.factors.columns import CANDLE_COLUMNS
from bmacdb.factors.library import Plan
from bmacdb.factors.module import Failure, PythonCall
from bmacdb.kit import ways
from bmacdb.kit.gridded import gridded
from bmacdb.kit.modules import apply_section
from bmacdb.kit.passes import Answer, Task
from bmacdb.kit.range import Range
from bmacdb.kit.rows import Rows, opens_of
from bmacdb.kit.source import CandleSource

__all__ = ["Result", "candles_of", "compute_plan", "python_task"]

Column = npt.NDArray[np.float64]


@dataclass(slots=True)
class Result:
    """Rows by symbol and open time: `symbol`, `open_ms`, the candle columns, the factors' columns (NaN is null)."""

    frame: pd.DataFrame
    failures: list[Failure] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def compute_plan(
    source: CandleSource,
    plan: Plan,
    first_ms: int,
    last_ms: int,
    symbols: Sequence[str] | None = None,
    *,
    exact: bool = True,
    lead: bool = True,
    helpers: bool = False,
    known: Answer | None = None,
) -> Result:
    """The plan's columns for each candle that opened in [first_ms, last_ms], of `symbols` or of all.

    `exact` gives a Python factor that is not windowed a frame of its own for every run time, as it has live; without,
    one pass over the whole. `lead`: a factor without a declared look-back gets num_candles bars before the first.
    `helpers`: for one symbol, the columns that modules add besides their own are kept. `known`: values of the Python
    factors, at one run time, that were computed before; it is not changed.
    """
    across = bool(plan.sections) or any(bound.across for bound in plan.sql)
    everyone = None if across or symbols is None else tuple(symbols)
    back = max((call.lookback or 1 for call, _ in plan.sections), default=1)
    begin_ms = source.interval.shift(first_ms, 1 - back)
    span = Range(source.schema, source.interval, begin_ms, last_ms, everyone)
    result = _sql(source, plan, span)
    result.failures += plan.failures
    kept_helpers = _python(source, plan, span, result, exact=exact, lead=lead, helpers=helpers, known=known)
    for failure in plan.failures:
        result.frame[failure.call.column] = np.nan
    if plan.sections:
        _sections(source, plan, result, first_ms, exact=exact)
    for call, compared in plan.whole:
        _whole(source, call, compared, result, (first_ms, last_ms), exact=exact)
    if across:
        kept = result.frame["open_ms"] >= first_ms
        if symbols is not None:
            kept &= result.frame["symbol"].isin(symbols)
        result.frame = result.frame[kept].reset_index(drop=True)
    shown = ["symbol", "open_ms", *CANDLE_COLUMNS, *plan.columns, *kept_helpers]
    if list(result.frame.columns) != shown:  # a selection is a copy
        result.frame = result.frame[shown]
    return result


def _sql(source: CandleSource, plan: Plan, span: Range) -> Result:
    """The rows, with the columns of the SQL factors."""
    found = gridded(source, plan.sql, span)
    frame, held = found.frame, found.held
    warnings = [
        _too_short(bound.call, bound.lookback, held)
        for bound in plan.sql
        if len(frame) and held < bound.lookback and frame[bound.call.column].isna().all()
    ]
    return Result(frame, warnings=warnings)


def _too_short(call: Call, lookback: int, held: int) -> str:
    return (
        f"factor {spell(call)} looks back {lookback} candles, and the record holds {held}: all its values are null. "
        "Shorten it, or record more (--num-candles)."
    )


def python_task(
    source: CandleSource, plan: Plan, span: Range, *, exact: bool = True, lead: bool = True, helpers: bool = False
) -> tuple[Task, int, bool]:
    """What is to be computed of each symbol, the longest look-back, and whether the column fundingRate is needed."""
    back = {call: call.lookback or (source.num_candles if lead else 1) for call in plan.python}
    lookback = max(back.values())
    task = Task(opens_of(span, lookback), lookback - 1, tuple(back.items()), exact, helpers)
    return task, lookback, any(call.factor.funding for call in plan.python)


def _python(
    source: CandleSource,
    plan: Plan,
    span: Range,
    result: Result,
    *,
    exact: bool,
    lead: bool,
    helpers: bool,
    known: Answer | None,
) -> list[str]:
    """The columns of the Python factors, into `result`; and the names of the helper columns that came with them."""
    if not plan.python:
        return []
    task, lookback, funding = python_task(source, plan, span, exact=exact, lead=lead, helpers=helpers)
    opens = task.opens
    symbols = sorted(set(result.frame["symbol"]))
    if known is not None:
        symbols = [symbol for symbol in symbols if symbol not in known.places]

    def read() -> Iterator[Rows]:
        return source.rows(span, lookback, symbols, funding=funding)

    answer = ways.compute(source.workers, task, read, len(symbols)) if symbols or known is None else Answer()
    if known is not None:
        answer = answer.joined(known)
    names = sorted(answer.places)
    times = [opens[answer.places[symbol]] for symbol in names]
    columns = {
        call.call.column: _joined([answer.values[call.call][symbol] for symbol in names]) for call in plan.python
    }
    added = {name: column.to_numpy() for name, column in answer.helpers.items() if name not in plan.columns}
    made = pd.DataFrame(
        {
            "symbol": np.repeat(names, list(map(len, times))) if names else [],
            "open_ms": np.concatenate(times) if times else np.empty(0, dtype=np.int64),
            **columns,
            **added,
        }
    )
    result.failures += answer.failures
    if (
        len(made) == len(result.frame)
        and made["open_ms"].equals(result.frame["open_ms"])
        and (made["symbol"].to_numpy() == result.frame["symbol"].to_numpy()).all()
    ):
        result.frame = pd.concat([result.frame, made.drop(columns=["symbol", "open_ms"])], axis=1)
    else:  # a candle came between the two questions
        result.frame = result.frame.merge(made, on=["symbol", "open_ms"], how="left")
    longest = answer.longest
    failed = {failure.call for failure in result.failures}
    for call in plan.python:
        if (
            longest
            and call.lookback is not None
            and longest < call.lookback
            and call.call not in failed
            and result.frame[call.call.column].isna().all()
        ):
            result.warnings.append(_too_short(call.call, call.lookback, longest))
    return list(added)


def _joined(parts: Sequence[Column]) -> Column:
    return np.concatenate(parts) if parts else np.empty(0)


def _sections(source: CandleSource, plan: Plan, result: Result, first_ms: int, *, exact: bool) -> None:
    """The columns of Python factors across the market."""
    frame = result.frame.sort_values(["open_ms", "symbol"], ignore_index=True)
    times = frame["open_ms"].to_numpy()
    for call, _ in plan.sections:
        shown = _section_frame(source, frame)
        column = np.full(len(frame), np.nan)
        runs = np.unique(times[times >= first_ms]) if exact and not call.factor.windowed else [None]
        for run in runs:
            low, high = 0, len(frame)
            if run is not None:
                begin = source.interval.shift(int(run), 1 - (call.lookback or 1))
                low, high = np.searchsorted(times, [begin, int(run) + 1])
            values, failures = apply_section(shown.iloc[low:high].reset_index(drop=True), call)
            result.failures += failures
            if values is not None:
                at = times[low:high] >= (first_ms if run is None else run)
                column[low:high][at] = values[at]
        frame[call.call.column] = column
    result.frame = frame.sort_values(["symbol", "open_ms"], ignore_index=True)


def _whole(
    source: CandleSource, call: PythonCall, compared: Plan, result: Result, span_ms: tuple[int, int], *, exact: bool
) -> None:
    """The column of a factor across the market that does not say how far it looks back.

    For each run time it is given the last num_candles bars, as in the framework that it comes from: what it compares
    is computed over these in one pass.
    """
    first, last = span_ms
    once = not exact or call.factor.windowed
    runs = [(first, last)] if once else [(int(run), int(run)) for run in np.unique(result.frame["open_ms"])]
    parts = [result.frame.iloc[:0][["symbol", "open_ms"]]]
    for begin, end in runs:
        if begin < first:
            continue
        start = source.interval.shift(begin, 1 - source.num_candles)
        found = compute_plan(source, compared, start, end, exact=False, lead=False)
        frame = found.frame.sort_values(["open_ms", "symbol"], ignore_index=True)
        values, failures = apply_section(_section_frame(source, frame), call)
        result.failures += found.failures + failures
        if values is not None:
            frame[call.call.column] = values
            parts.append(frame.loc[frame["open_ms"] >= begin, ["symbol", "open_ms", call.call.column]])
    made = pd.concat(parts)
    if call.call.column not in made:
        made[call.call.column] = np.nan
    result.frame = result.frame.merge(made, on=["symbol", "open_ms"], how="left")


def _section_frame(source: CandleSource, frame: pd.DataFrame) -> pd.DataFrame:
    shown = frame.drop(columns="open_ms")
    shown.insert(0, "candle_begin_time", pd.to_datetime(frame["open_ms"], unit="ms", utc=True).dt.as_unit("ns"))
    return shown


def candles_of(source: CandleSource, symbol: str) -> pd.DataFrame:
    """The last num_candles candles of a symbol, as the predecessor's files hold them."""
    newest = source.interval.shift(source.latest_run_time_ms(), -1)
    first = source.interval.shift(newest, 1 - source.num_candles)
    span = Range(source.schema, source.interval, first, newest, (symbol,))
    for rows in source.rows(span, 1, (symbol,)):
        return rows.candles(opens_of(span, 1), span.interval.next(newest))
    return pd.DataFrame(columns=["candle_begin_time", *CANDLE_COLUMNS])
