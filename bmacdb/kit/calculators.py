"""The predecessor's calculators over the database, with their names and signatures.

Reading and computing happen in a thread, so a strategy's event loop stays free.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from datetime import datetime

import pandas as pd

from bmacdb.clock import Clock, SystemClock
from bmacdb.errors import UsageError
from bmacdb.factors.library import Library, Plan
from bmacdb.factors.module import Failure
from bmacdb.kit.database import DatabaseSource
from bmacdb.kit.engine import Result, compute_plan
from bmacdb.kit.reader import CandleReader
from bmacdb.kit.research import indexed, tell
from bmacdb.kit.source import CandleSource
from bmacdb.kit.times import run_time_ms

__all__ = ["BmacAllMarketCalculator", "BmacSingleSymbolCalculator"]

logger = logging.getLogger("bmacdb.kit")


class BmacSingleSymbolCalculator:
    """Several factors of one symbol, for strategies that follow time series.

    `factor_cfgs`: as `[('PctChg', 100), ('TrdNumMeanV1', 80)]`. `package` is looked up before the bundled library.
    `bmac_expire_sec` after the run time it goes on without what is late. After a calculation `late` names the symbols
    that were, and `failures` the factors that raised; both are logged once (logger `bmacdb.kit`).

    Raises UsageError for an unknown factor or a parameter that cannot be used.
    """

    def __init__(
        self,
        symbol: str,
        candle_reader: CandleReader,
        factor_cfgs: Sequence[object],
        package: str = "factor",
        bmac_expire_sec: float = 40,
        *,
        clock: Clock | None = None,
    ) -> None:
        self.symbol = symbol
        self.late: tuple[str, ...] = ()
        self.failures: tuple[Failure, ...] = ()
        self._reader = candle_reader
        self._plan: Plan = Library(package).plan(factor_cfgs)
        self._expire_sec = bmac_expire_sec
        self._clock = clock or SystemClock()
        self._told: set[object] = set()

    async def calc_factors(self, run_time: datetime, symbol: str | None = None) -> pd.DataFrame:
        """Every period of the symbol up to `run_time`: the last num_candles.

        Index candle_end_time (UTC), ascending; candle_begin_time, the candle columns and one column per factor,
        float64, NaN where it is null; then the helper columns that Python modules leave in their frames. Waits until
        the symbol is ready; past the deadline the rows end with what is there.

        Raises UsageError for a run time that is no boundary, StoreError when the database cannot be read.
        """
        name = self.symbol if symbol is None else symbol
        source = await asyncio.to_thread(lambda: self._reader.source)
        run_ms = run_time_ms(run_time, source.interval)
        await self._wait(source, run_time, run_ms, [name])
        last = source.interval.shift(run_ms, -1)
        first = source.interval.shift(last, 1 - source.num_candles)
        result = await asyncio.to_thread(
            compute_plan, source, self._plan, first, last, [name], exact=False, lead=False, helpers=True
        )
        there = len(result.frame) and int(result.frame["open_ms"].iloc[-1]) == last
        self._finish(result, () if there else (name,), run_time)
        return indexed(source, result).drop(columns="symbol")

    async def _wait(self, source: DatabaseSource, run_time: datetime, run_ms: int, symbols: list[str] | None) -> None:
        """Until the symbols (None: all) are ready, or the deadline is past; a plain DuckDB connection cannot tell."""
        wait_ready = getattr(source.connection, "wait_ready", None)
        if wait_ready is None:
            return
        left = self._expire_sec - max(0, self._clock.now_ms() - run_ms) / 1000
        with contextlib.suppress(TimeoutError):  # what is late is named from what is there
            await wait_ready(run_time, symbols=symbols, timeout=max(left, 0.0), feed=source.schema)

    def _finish(self, result: Result, late: tuple[str, ...], run_time: datetime) -> None:
        self.late = late
        self.failures = tell(result, self._told)
        if late:
            shown = ", ".join(late[:10]) + (f" and {len(late) - 10} more" if len(late) > 10 else "")
            logger.warning(
                "run time %s: %d symbols were not there %g s after it and are left out: %s",
                run_time.isoformat(),
                len(late),
                self._expire_sec,
                shown,
            )


class BmacAllMarketCalculator(BmacSingleSymbolCalculator):
    """Several factors of the whole market, for strategies that choose among symbols.

    `exginfo_reader` and `candle_reader` may be one and the same CandleReader. The rest is as above.
    """

    def __init__(
        self,
        exginfo_reader: CandleReader,
        candle_reader: CandleReader,
        factor_cfgs: Sequence[object],
        package: str = "factor",
        bmac_expire_sec: float = 40,
        *,
        clock: Clock | None = None,
    ) -> None:
        super().__init__("", candle_reader, factor_cfgs, package, bmac_expire_sec, clock=clock)
        self._exginfo_reader = exginfo_reader

    async def calc_factors(self, run_time: datetime, symbol: str | None = None) -> pd.DataFrame:
        """As of the single-symbol calculator; the symbol must be given."""
        if symbol is None:
            raise UsageError("calc_factors of the all-market calculator needs a symbol; calc_all_factors needs none.")
        return await super().calc_factors(run_time, symbol)

    async def calc_all_factors(self, run_time: datetime) -> pd.DataFrame:
        """The whole market at `run_time`.

        Index symbol, ascending; candle_begin_time, the candle columns and one column per factor, float64, NaN where
        it is null. Waits until the market is complete; past the deadline it goes on without the late symbols (`late`).

        Raises UsageError for a run time that is no boundary, StoreError when the database cannot be read.
        """
        source = await asyncio.to_thread(lambda: self._reader.source)
        run_ms = run_time_ms(run_time, source.interval)
        await self._wait(source, run_time, run_ms, None)
        last = source.interval.shift(run_ms, -1)

        def work() -> tuple[Result, tuple[str, ...]]:
            result = compute_plan(source, self._plan, last, last)
            return result, late_symbols(self._exginfo_reader.source, last, result)

        result, late = await asyncio.to_thread(work)
        self._finish(result, late, run_time)
        return indexed(source, result).set_index("symbol")


def late_symbols(source: CandleSource, open_ms: int, result: Result) -> tuple[str, ...]:
    """The symbols that traded at a bar's close by the exchange info of that time, and have no row."""
    return tuple(sorted(set(source.trading(open_ms)) - set(result.frame["symbol"])))
