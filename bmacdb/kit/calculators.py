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
from bmacdb.kit.engine import Result, compute_plan
from bmacdb.kit.reader import CandleReader
from bmacdb.kit.research import indexed, tell
from bmacdb.kit.source import CandleSource
from bmacdb.kit.stream import FactorStream
from bmacdb.kit.times import run_time_ms
from bmacdb.live.market import Market

__all__ = ["BmacAllMarketCalculator", "BmacSingleSymbolCalculator"]

logger = logging.getLogger("bmacdb.kit")


class BmacSingleSymbolCalculator:
    """Several factors of one symbol, for strategies that follow time series.

    `factor_cfgs`: as `[('PctChg', 100), ('TrdNumMeanV1', 80)]`. `package` is looked up before the bundled library.
    `bmac_expire_sec` after the run time it goes on without what is late. After a calculation `late` names the symbols
    that were, and `failures` the factors that raised; both are logged once (logger `bmacdb.kit`).

    `candle_reader` may be an open market of `bmacdb.subscribe` too: then factors are computed from its panel as candles
    come, and a calculation takes events from it until what it needs is there. One task at a time may do so.

    Raises UsageError for an unknown factor or a parameter that cannot be used.
    """

    def __init__(
        self,
        symbol: str,
        candle_reader: CandleReader | Market,
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
        self._stream: FactorStream | None = None
        if isinstance(candle_reader, Market):
            self._stream = FactorStream.follow(candle_reader, self._plan)

    async def calc_factors(self, run_time: datetime, symbol: str | None = None) -> pd.DataFrame:
        """Every period of the symbol up to `run_time`: the last num_candles.

        Index candle_end_time (UTC), ascending; candle_begin_time, the candle columns and one column per factor,
        float64, NaN where it is null; then the helper columns that Python modules leave in their frames. Waits until
        the symbol is ready; past the deadline the rows end with what is there.

        Raises UsageError for a run time that is no boundary, StoreError when the database cannot be read.
        """
        name = self.symbol if symbol is None else symbol
        source, run_ms = await self._ready(run_time, name)
        last = source.interval.shift(run_ms, -1)
        first = source.interval.shift(last, 1 - source.num_candles)
        result = await asyncio.to_thread(
            compute_plan, source, self._plan, first, last, [name], exact=False, lead=False, helpers=True
        )
        there = len(result.frame) and int(result.frame["open_ms"].iloc[-1]) == last
        self._finish(result, () if there else (name,), run_time)
        return indexed(source, result).drop(columns="symbol")

    def close(self) -> None:
        """End what follows a market; a calculator of a CandleReader has nothing to end."""
        if self._stream is not None:
            self._stream.close()

    async def _ready(self, run_time: datetime, symbol: str | None) -> tuple[CandleSource, int]:
        """Wait until the symbol (None: all) is ready, or the deadline is past. What is read, and the run time in ms.

        A plain DuckDB connection cannot tell, and is not waited for.
        """
        if self._stream is not None and isinstance(self._reader, Market):
            run_ms = run_time_ms(run_time, self._stream.source.interval)
            with contextlib.suppress(TimeoutError):  # what is late is named from what is there
                async with asyncio.timeout(self._left(run_ms)):
                    await _taken(self._reader, run_time, run_ms, symbol)
            return self._stream.source, run_ms
        assert isinstance(self._reader, CandleReader)
        reader = self._reader
        source = await asyncio.to_thread(lambda: reader.source)
        run_ms = run_time_ms(run_time, source.interval)
        wait_ready = getattr(source.connection, "wait_ready", None)
        if wait_ready is not None:
            symbols = None if symbol is None else [symbol]
            with contextlib.suppress(TimeoutError):
                await wait_ready(run_time, symbols=symbols, timeout=self._left(run_ms), feed=source.schema)
        return source, run_ms

    def _left(self, run_ms: int) -> float:
        """Seconds until the deadline."""
        return max(self._expire_sec - max(0, self._clock.now_ms() - run_ms) / 1000, 0.0)

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


async def _taken(market: Market, run_time: datetime, run_ms: int, symbol: str | None) -> None:
    """Take events until the candle of the symbol is there; None: until the market is complete."""
    if symbol is None:
        while not (await market.complete(run_time)).complete:
            pass  # late: the rest may still come
        return
    while not market.panel.holds(symbol, run_ms):
        if await anext(market, None) is None:
            return


class BmacAllMarketCalculator(BmacSingleSymbolCalculator):
    """Several factors of the whole market, for strategies that choose among symbols.

    `exginfo_reader` and `candle_reader` may be one and the same CandleReader. The rest is as above.
    """

    def __init__(
        self,
        exginfo_reader: CandleReader | Market,
        candle_reader: CandleReader | Market,
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
        source, run_ms = await self._ready(run_time, None)
        last = source.interval.shift(run_ms, -1)

        def work() -> tuple[Result, tuple[str, ...]]:
            if self._stream is not None and isinstance(self._reader, Market):
                result = self._stream.table(run_ms)
                return result, tuple(sorted(self._reader.trading - set(result.frame["symbol"])))
            result = compute_plan(source, self._plan, last, last)
            assert isinstance(self._exginfo_reader, CandleReader)
            return result, late_symbols(self._exginfo_reader.source, last, result)

        result, late = await asyncio.to_thread(work)
        self._finish(result, late, run_time)
        return indexed(source, result).set_index("symbol")


def late_symbols(source: CandleSource, open_ms: int, result: Result) -> tuple[str, ...]:
    """The symbols that traded at a bar's close by the exchange info of that time, and have no row."""
    return tuple(sorted(set(source.trading(open_ms)) - set(result.frame["symbol"])))
