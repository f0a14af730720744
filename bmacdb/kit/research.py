"""Factors over any range of the past, with the code that computes them live."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime

import pandas as pd

from bmacdb.errors import UsageError
from bmacdb.factors.library import Library
from bmacdb.factors.module import Failure, grouped
from bmacdb.kit.database import Connection, DatabaseSource
from bmacdb.kit.engine import Result, compute_plan
from bmacdb.kit.panel import PanelSource
from bmacdb.kit.reader import CandleReader
from bmacdb.kit.source import CandleSource
from bmacdb.kit.times import run_time_ms
from bmacdb.live.panel import Panel

__all__ = ["compute", "indexed", "tell"]

logger = logging.getLogger("bmacdb.kit")


def compute(
    conn: Connection | CandleReader | CandleSource | Panel,
    factors: Iterable[object],
    symbols: Sequence[str] | str | None,
    start: datetime,
    end: datetime,
    *,
    feed: str | None = None,
    package: str = "factor",
    exact: bool = True,
) -> pd.DataFrame:
    """The factors at every run time in [start, end], both boundaries of the feed's interval.

    `conn`: a connection, a reader, or a panel in memory, whose window must hold the range and the look-back.
    `symbols` None is the whole market. Index (candle_end_time, symbol), ascending, UTC; the candle columns, then one
    column per factor, float64, NaN where it is null. Each value is what the calculators gave, or would have given, live
    at that run time. For Python factors that are not WINDOWED that means a call for every run time: `exact=False`
    makes one pass per symbol, which is fast and may differ in the last digits, or more where a factor's memory is
    longer than its LOOKBACK.

    Raises UsageError for a factor, feed or time that cannot be used, StoreError when the database cannot be read.
    """
    source = _source(conn, feed)
    plan = Library(package).plan(factors)
    if isinstance(symbols, str):
        symbols = [symbols]
    first_run, last_run = run_time_ms(start, source.interval), run_time_ms(end, source.interval)
    if last_run < first_run:
        raise UsageError(f"end {end.isoformat()} is before start {start.isoformat()}.")
    first, last = source.interval.shift(first_run, -1), source.interval.shift(last_run, -1)
    result = compute_plan(source, plan, first, last, symbols, exact=exact)
    tell(result, set())
    frame = indexed(source, result)
    return frame.set_index("symbol", append=True).sort_index()


def _source(conn: Connection | CandleReader | CandleSource | Panel, feed: str | None) -> CandleSource:
    if isinstance(conn, CandleReader):
        return conn.source
    if isinstance(conn, Panel):
        return PanelSource(conn)
    if isinstance(conn, PanelSource | DatabaseSource):
        return conn
    return DatabaseSource.of(conn, feed)  # type: ignore[arg-type]


def indexed(source: CandleSource, result: Result) -> pd.DataFrame:
    """The result with the predecessor's times: index candle_end_time, first column candle_begin_time (UTC)."""
    frame = result.frame.drop(columns="open_ms")
    opens = result.frame["open_ms"]
    ends = opens.map({ms: source.interval.next(ms) for ms in map(int, opens.unique())}).astype("int64")
    frame.insert(1, "candle_begin_time", pd.to_datetime(opens, unit="ms", utc=True).dt.as_unit("ns"))
    frame.index = pd.DatetimeIndex(pd.to_datetime(ends, unit="ms", utc=True), name="candle_end_time").as_unit("ns")
    return frame


def tell(result: Result, told: set[object]) -> tuple[Failure, ...]:
    """Log each warning and each factor's first failure, those in `told` left out. Returns the first failures."""
    for warning in result.warnings:
        if warning not in told:
            told.add(warning)
            logger.warning("%s", warning)
    failures = tuple(grouped(result.failures).values())
    for failure in failures:
        if failure.call not in told:
            told.add(failure.call)
            logger.error("%s", failure)
    return failures
