"""The market's factors as a table, once or at every run time: what `bmacdb factors` prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

import numpy as np
import pyarrow as pa

from bmacdb.clock import format_ms, from_ms
from bmacdb.errors import UsageError
from bmacdb.factors.bind import bind
from bmacdb.factors.call import Call
from bmacdb.factors.library import Library, Plan
from bmacdb.factors.module import Failure, PythonFactor, grouped
from bmacdb.factors.run import way
from bmacdb.kit.calculators import late_symbols
from bmacdb.kit.database import DatabaseSource
from bmacdb.kit.engine import compute_plan
from bmacdb.kit.times import run_time_ms
from bmacdb.kit.ways import tried
from bmacdb.store.reader import Reader

__all__ = ["Market", "MarketTable", "describe"]


@dataclass(frozen=True, slots=True)
class MarketTable:
    """`table`: run_time (UTC), symbol, close, one DOUBLE column per factor; by symbol. `told`: what went amiss."""

    table: pa.Table
    failures: tuple[Failure, ...]
    late: tuple[str, ...]
    told: tuple[str, ...]


@dataclass(slots=True)
class Market:
    """The factors of `plan`, for `symbols` or all. A factor's traceback and a warning are told once; the times in what
    is told are in `zone` (the machine's when None)."""

    source: DatabaseSource
    plan: Plan
    symbols: Sequence[str] | None = None
    zone: tzinfo | None = None
    _told: set[object] = field(default_factory=set)

    def at(self, run_time: datetime) -> MarketTable:
        """The table at a run time. Raises UsageError when it is no boundary, or nothing is recorded for it."""
        run_ms = run_time_ms(run_time, self.source.interval)
        last = self.source.interval.shift(run_ms, -1)
        result = compute_plan(self.source, self.plan, last, last, self.symbols)
        late = late_symbols(self.source, last, result)
        if self.symbols:
            missing = [name for name in self.symbols if name not in set(result.frame["symbol"])]
            if len(missing) == len(self.symbols):
                raise UsageError(
                    f"{self.source.schema} has no candle of {', '.join(missing)} at {format_ms(run_ms, self.zone)}."
                )
            late = tuple(missing)
        elif not len(result.frame):
            newest = self.source.latest_run_time_ms()
            raise UsageError(
                f"{self.source.schema} has no candle at run time {format_ms(run_ms, self.zone)}: the newest complete "
                f"one is {format_ms(newest, self.zone)}."
            )
        failures = tuple(grouped(result.failures).values())
        told = [f"Warning: {text}" for text in result.warnings if text not in self._told]
        told += [str(failure) for failure in failures if failure.call not in self._told]
        self._told |= {*result.warnings, *(failure.call for failure in failures)}
        if late:
            told.append(f"{len(late)} symbols have no candle at {format_ms(run_ms, self.zone)}: {', '.join(late[:20])}")
        columns = {
            "run_time": pa.array([from_ms(run_ms)] * len(result.frame), pa.timestamp("ms", "UTC")),
            "symbol": pa.array(result.frame["symbol"].tolist(), pa.string()),
        }
        for name in ["close", *self.plan.columns]:
            values = result.frame[name].to_numpy(dtype=np.float64)
            columns[name] = pa.array(values, mask=np.isnan(values))
        return MarketTable(pa.table(columns), failures, late, tuple(told))

    def watch(self, expire_sec: float) -> Iterator[MarketTable]:
        """A table at each run time from the next on, as soon as the market is complete, or `expire_sec` after it.

        The recorder's clock counts, which may be that of a stand-in exchange.
        """
        reader = self.source.connection
        if not isinstance(reader, Reader):
            raise UsageError("watching needs a connection of bmacdb.connect, which tells when the market is complete.")
        run_ms = self.source.interval.boundary_after(reader.now_ms())
        while True:
            readiness = reader.wait_ready_blocking(from_ms(run_ms), timeout=expire_sec, feed=self.source.schema)
            try:
                found = self.at(from_ms(run_ms))
            except UsageError as exc:  # no candle at all: the recorder may be starting, the next may come
                found = MarketTable(pa.table({"run_time": [], "symbol": []}), (), readiness.late, (str(exc),))
            head = "complete" if readiness else f"not complete after {expire_sec:g} s"
            line = f"Run time {format_ms(run_ms, self.zone)}: {head}, {found.table.num_rows} symbols computed."
            if found.table.num_columns > 2:
                yield MarketTable(found.table, found.failures, found.late, (line, *found.told))
            # What was missed while computing is not made up for: the newest is wanted.
            run_ms = max(self.source.interval.next(run_ms), self.source.interval.floor(reader.now_ms()))


def describe(library: Library, name: str) -> dict[str, str]:
    """A factor in words: factor, description, formula, parameters, look_back, null, form, way, source.

    The look-back is that of the default parameters, in candles.
    """
    row = dict.fromkeys(
        ("factor", "description", "formula", "parameters", "look_back", "null", "form", "way", "source"), ""
    )
    row["factor"] = name
    own = " (own)" if name in library.own() else ""
    try:
        found = library.find(name)
        if isinstance(found, PythonFactor):
            lookback = getattr(found.module, "LOOKBACK", "num_candles")
            text = (found.module.__doc__ or "").strip().split("\n")[0]
            back = "depends on the parameter" if callable(lookback) else str(lookback)
            taken = "rows of the whole market" if found.is_cross else tried(found)
            return row | {"description": text, "look_back": back, "form": f"python{own}", "way": taken}
        defaults = all(parameter.default is not None for parameter in found.parameters)
        bound = bind(found, Call(name), library.in_sql) if defaults else None
    except Exception as exc:  # a file of the user's that is no factor, or does not import, is listed all the same
        if not own:
            raise
        return row | {"description": f"cannot be used: {exc}", "form": f"python or sql{own}"}
    market = bound is None or bound.across
    return row | {
        "description": found.description,
        "formula": found.formula,
        "parameters": ", ".join(map(str, found.parameters)),
        "look_back": str(bound.lookback) if bound else "that of the factor",
        "null": found.null,
        "form": f"sql{', across the market' if market else ''}{own}",
        "way": way(bound) if bound else "that of the factor",
        "source": found.source,
    }
