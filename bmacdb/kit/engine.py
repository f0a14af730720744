"""From a plan of factors to a table of values: one statement for SQL, one frame per symbol for Python.

A value at a run time is computed from the bars in [run_time - lookback, run_time) and nothing else, whether it is the
only run time asked for or one of a year.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from bmacdb.factor.call import Call, spell
from bmacdb.factor.module import Failure, apply_section
from bmacdb.factor.registry import Plan
from bmacdb.factor.statement import Range, build
from bmacdb.factor.template import CANDLE_COLUMNS
from bmacdb.kit.passes import Task
from bmacdb.kit.rows import opens_of, read_rows
from bmacdb.kit.source import Source

__all__ = ["Result", "candles_of", "compute_plan"]

Column = npt.NDArray[np.float64]

_COPIED_AT_ONCE = 12_000_000
"""Elements of lists copied in one statement: each value costs a copy of its symbol's list, look-back and all."""

_MARKET = 600
"""Symbols that a market is taken to have when it is cut into pieces."""


@dataclass(slots=True)
class Result:
    """Rows by symbol and open time: `symbol`, `open_ms`, the candle columns, the factors' columns (NaN is null)."""

    frame: pd.DataFrame
    failures: list[Failure] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def compute_plan(
    source: Source,
    plan: Plan,
    first_ms: int,
    last_ms: int,
    symbols: Sequence[str] | None = None,
    *,
    exact: bool = True,
    lead: bool = True,
) -> Result:
    """The plan's columns for each candle that opened in [first_ms, last_ms], of `symbols` or of all.

    `exact` gives a Python factor that is not windowed a frame of its own for every run time, as it has live; without,
    one pass over the whole. `lead`: a factor without a declared look-back gets num_candles bars before the first.
    """
    everyone = None if plan.sections or symbols is None else tuple(symbols)
    back = max((call.lookback or 1 for call, _ in plan.sections), default=1)
    begin_ms = source.interval.shift(first_ms, 1 - back)
    span = Range(source.schema, source.interval, begin_ms, last_ms, everyone)
    result = _sql(source, plan, span)
    result.failures += plan.failures
    _python(source, plan, span, result, exact=exact, lead=lead)
    for failure in plan.failures:
        result.frame[failure.call.column] = np.nan
    if plan.sections:
        _sections(source, plan, result, first_ms, exact=exact)
        kept = result.frame["open_ms"] >= first_ms
        if symbols is not None:
            kept &= result.frame["symbol"].isin(symbols)
        result.frame = result.frame[kept].reset_index(drop=True)
    result.frame = result.frame[["symbol", "open_ms", *CANDLE_COLUMNS, *plan.columns]]
    return result


def _chunks(source: Source, span: Range, lookback: int) -> Iterator[Range]:
    """The range in pieces that fit in memory, each at least as long as what is read before it."""
    symbols = _MARKET if span.symbols is None else max(len(span.symbols), 1)
    # bars * (bars + lookback) copies a symbol
    bars = max(int(math.sqrt(lookback**2 / 4 + _COPIED_AT_ONCE / symbols) - lookback / 2), lookback, 1)
    first: int | None = span.first_ms
    while first is not None and first <= span.last_ms:
        last = min(span.interval.shift(first, bars - 1), span.last_ms)
        yield Range(span.schema, span.interval, first, last, span.symbols)
        if last == span.last_ms:
            return
        # On to the next bar that there is: a hole may be longer than the rest.
        end = span.interval.next(span.last_ms)
        first = source.number(
            f"SELECT epoch_ms(min(open_time)) FROM {span.table('candles')}"
            f" WHERE {span.where(span.interval.next(last), end)}"
        )


def _sql(source: Source, plan: Plan, span: Range) -> Result:
    """The rows, with the columns of the SQL factors."""
    lookback = max((bound.lookback for bound in plan.sql), default=1)
    places = {bound.call: f"f{number}" for number, bound in enumerate(plan.sql)}
    crosses = [(bound, places[of]) for bound, of in plan.crosses]
    names = {f"f{number}": bound.call.column for number, bound in enumerate(plan.sql)}
    names |= {f"c{number}": bound.call.column for number, (bound, _) in enumerate(plan.crosses)}
    parts: list[pd.DataFrame] = []
    held = 0
    for part in _chunks(source, span, lookback):
        table = source.ask(build(plan.sql, crosses, part))
        if table.num_rows:
            held = max(held, _maximum(table.column("held")))
        frame = table.drop_columns(["k", "held"]).to_pandas()
        frame.insert(1, "open_ms", opens_of(part, lookback)[table.column("k").to_numpy()])
        parts.append(frame)
    whole = parts[0]
    if len(parts) > 1:
        whole = pd.concat(parts, ignore_index=True).sort_values(["symbol", "open_ms"], ignore_index=True)
    whole = whole.rename(columns=names)
    warnings = [
        _too_short(bound.call, bound.lookback, held)
        for bound in plan.sql
        if len(whole) and held < bound.lookback and whole[bound.call.column].isna().all()
    ]
    return Result(whole, warnings=warnings)


def _too_short(call: Call, lookback: int, held: int) -> str:
    return (
        f"factor {spell(call)} looks back {lookback} candles, and the record holds {held}: all its values are null. "
        "Shorten it, or record more (--num-candles)."
    )


def _maximum(column: pa.ChunkedArray) -> int:
    return int(pc.max(column).as_py() or 0)


def _python(source: Source, plan: Plan, span: Range, result: Result, *, exact: bool, lead: bool) -> None:
    """The columns of the Python factors, into `result`."""
    if not plan.python:
        return
    back = {call: call.lookback or (source.num_candles if lead else 1) for call in plan.python}
    lookback = max(back.values())
    opens = opens_of(span, lookback)
    task = Task(opens, span.interval.next(int(opens[-1])), lookback - 1, tuple(back.items()), exact)
    symbols = sorted(set(result.frame["symbol"]))
    answers = source.workers.run(task, read_rows(source, span, lookback, symbols), len(symbols))
    times = [opens[places] for answer in answers for places in answer.places]
    names = [symbol for answer in answers for symbol in answer.symbols]
    columns = {
        call.call.column: _joined([part for answer in answers for part in answer.values.get(call.call, ())])
        for call in plan.python
    }
    made = pd.DataFrame(
        {
            "symbol": np.repeat(names, list(map(len, times))) if names else [],
            "open_ms": np.concatenate(times) if times else np.empty(0, dtype=np.int64),
            **columns,
        }
    )
    for answer in answers:
        result.failures += answer.failures
    if (
        len(made) == len(result.frame)
        and made["open_ms"].equals(result.frame["open_ms"])
        and (made["symbol"].to_numpy() == result.frame["symbol"].to_numpy()).all()
    ):
        result.frame = pd.concat([result.frame, made.drop(columns=["symbol", "open_ms"])], axis=1)
    else:  # a candle came between the two questions
        result.frame = result.frame.merge(made, on=["symbol", "open_ms"], how="left")
    longest = max((answer.longest for answer in answers), default=0)
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


def _joined(parts: Sequence[Column]) -> Column:
    return np.concatenate(parts) if parts else np.empty(0)


def _sections(source: Source, plan: Plan, result: Result, first_ms: int, *, exact: bool) -> None:
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


def _section_frame(source: Source, frame: pd.DataFrame) -> pd.DataFrame:
    shown = frame.drop(columns="open_ms")
    shown.insert(0, "candle_begin_time", pd.to_datetime(frame["open_ms"], unit="ms", utc=True).dt.as_unit("ns"))
    return shown


def candles_of(source: Source, symbol: str) -> pd.DataFrame:
    """The last num_candles candles of a symbol, as the predecessor's files hold them."""
    newest = source.interval.shift(source.latest_run_time_ms(), -1)
    first = source.interval.shift(newest, 1 - source.num_candles)
    span = Range(source.schema, source.interval, first, newest, (symbol,))
    for rows in read_rows(source, span, 1, (symbol,)):
        for one in rows.frames(opens_of(span, 1), span.interval.next(newest)):
            return one.frame.copy()
    return pd.DataFrame(columns=["candle_begin_time", *CANDLE_COLUMNS])
