"""Factors of the market as its candles come, so that only stragglers are left when the last one is there.

take(symbols) ── copies their bars ──► a thread: Python factors of whatever waits, in one batch
table(run)    ── waits for that thread ── SQL factors of all symbols in one pass ──► the values of the run time
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

import pandas as pd

from bmacdb.clock import to_ms
from bmacdb.factors.call import Call
from bmacdb.factors.library import Library, Plan
from bmacdb.kit import ways
from bmacdb.kit.engine import Result, compute_plan, python_task
from bmacdb.kit.panel import PanelSource
from bmacdb.kit.passes import Answer, Task
from bmacdb.kit.range import Range
from bmacdb.kit.reader import CandleReader
from bmacdb.kit.research import indexed, tell
from bmacdb.kit.rows import Rows, joined
from bmacdb.kit.times import run_time_ms
from bmacdb.live.events import CandleEvent
from bmacdb.live.market import Market

__all__ = ["FactorStream"]


@dataclass(slots=True)
class _Batch:
    """Symbols whose rows were copied and are not computed yet: `rows` by symbol."""

    task: Task
    rows: dict[str, Rows] = field(default_factory=dict)


class FactorStream:
    """The factors of `plan` for a panel that changes between the calls of its methods and at no other time.

    Values are those of `compute` over the range, to the last bit. Used by one thread; what it starts reads no panel.
    `symbols`: only these, where no factor compares the market.
    """

    def __init__(
        self, source: PanelSource, factors: Plan | Iterable[object], symbols: Sequence[str] | None = None
    ) -> None:
        """Raises UsageError for a factor that is not there."""
        self.source = source
        self.plan = factors if isinstance(factors, Plan) else Library().plan(factors)
        self.symbols = symbols
        self._open_ms = 0
        self._answer = Answer()
        self._waiting: _Batch | None = None
        self._seen: set[str] = set()
        self._apart: set[Call] = set()
        self._told: set[object] = set()
        self._reader: CandleReader | None = None
        self._failed: Exception | None = None
        self._changed = threading.Condition()
        self._busy = self._closed = False
        self._thread: threading.Thread | None = None

    @classmethod
    def follow(
        cls,
        market: Market,
        factors: Plan | Iterable[object],
        symbols: Sequence[str] | None = None,
        *,
        package: str = "factor",
        workers: int | None = None,
    ) -> FactorStream:
        """That of an open market: each event of candles that is taken from it is taken here.

        Raises UsageError for a factor that is not there.
        """
        plan = factors if isinstance(factors, Plan) else Library(package).plan(factors)
        reader = CandleReader(market.path, market.panel.feed, workers=workers)
        try:
            stream = cls(PanelSource(market.panel, reader.source, reader.source.workers), plan, symbols)
        except BaseException:
            reader.close()
            raise
        stream._reader = reader
        market.on(CandleEvent, stream._candles)
        return stream

    def at(self, run_time: datetime) -> pd.DataFrame:
        """The market at `run_time`, of the candles that the panel holds now.

        Index symbol, ascending; candle_begin_time, the candle columns and one column per factor, float64, NaN where it
        is null. What a factor raised is logged. Raises as `table`.
        """
        result = self.table(run_time_ms(run_time, self.source.interval))
        tell(result, self._told)
        return indexed(self.source, result).set_index("symbol")

    def _candles(self, event: Any) -> None:
        if not self._closed:
            self.take(to_ms(event.run_time), event.symbols)

    def close(self) -> None:
        """End the thread, and let go of the database."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def take(self, run_ms: int, symbols: Collection[str]) -> None:
        """Candles of these symbols have come, or were corrected, up to that of the run time `run_ms`.

        Their Python factors at the newest run time are computed in the background, and those of the run time before
        are forgotten. An older candle is one that the newest run time looks back at: it is computed again.
        """
        open_ms = self.source.interval.shift(run_ms, -1)
        if not self.plan.python:
            return
        if open_ms < self._open_ms:
            open_ms, symbols = self._open_ms, self._seen & set(symbols)
        if self.symbols is not None and not (self.plan.sections or any(bound.across for bound in self.plan.sql)):
            symbols = set(symbols) & set(self.symbols)
        span = self._span(open_ms, tuple(sorted(symbols)))
        task, lookback, funding = python_task(self.source, self.plan, span)
        if not self.source.holds(span, lookback) or not span.symbols:
            return
        found: dict[str, Rows] = {}
        for rows in self.source.rows(span, lookback, span.symbols, funding=funding):
            found |= {symbol: rows.of([number]) for number, symbol in enumerate(rows.symbols)}
        with self._changed:
            if open_ms > self._open_ms:
                self._begin(open_ms)
            self._seen |= found.keys()
            for symbol in found:  # until the new values are there
                self._forget(symbol)
            if self._waiting is None:
                self._waiting = _Batch(task)
            self._waiting.rows |= found
            self._start()
            self._changed.notify_all()

    def table(self, run_ms: int) -> Result:
        """The factors at a run time, of the candles that the panel holds now.

        Raises whatever computing raised, UsageError when neither the window nor the database reaches so far back.
        """
        open_ms = self.source.interval.shift(run_ms, -1)
        known = self._known() if open_ms == self._open_ms else None
        return compute_plan(self.source, self.plan, open_ms, open_ms, self.symbols, known=known)

    def one(self, run_ms: int, symbol: str) -> pd.Series:
        """The factors of one symbol at a run time: what needs no other symbol. Raises KeyError without a candle."""
        open_ms = self.source.interval.shift(run_ms, -1)
        result = compute_plan(self.source, self.plan, open_ms, open_ms, [symbol])
        return result.frame.set_index("symbol").loc[symbol]

    def _known(self) -> Answer:
        """What was computed, once nothing waits any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._failed is not None or not (self._busy or self._waiting))
            if self._failed is not None:
                failed, self._failed = self._failed, None
                raise failed
            return self._answer

    def _begin(self, open_ms: int) -> None:
        self._open_ms, self._waiting, self._answer, self._seen = open_ms, None, Answer(), set()

    def _span(self, open_ms: int, symbols: tuple[str, ...] | None) -> Range:
        return Range(self.source.schema, self.source.interval, open_ms, open_ms, symbols)

    def _forget(self, symbol: str) -> None:
        self._answer.places.pop(symbol, None)
        for columns in self._answer.values.values():
            columns.pop(symbol, None)
        self._answer.failures = [one for one in self._answer.failures if one.symbol != symbol]

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="bmacdb-stream", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._closed or self._waiting is not None)
                if self._closed:
                    return
                batch, self._waiting, self._busy = self._waiting, None, True
                answer = self._answer
            assert batch is not None
            try:
                made = self._computed(batch)
            except Exception as exc:  # `table` raises it
                with self._changed:
                    self._failed = exc
                continue
            apart = {call.call for call, _ in batch.task.calls if ways.way_of(call).apart}
            with self._changed:
                if answer is not self._answer:  # another run time has begun
                    continue
                if apart - self._apart:  # proved different only now: what came before is in doubt
                    self._apart |= apart
                    answer = self._answer = Answer()
                newer = self._waiting.rows.keys() if self._waiting is not None else ()
                for symbol, places in made.places.items():
                    if symbol not in newer:
                        answer.add(symbol, places, {call: columns[symbol] for call, columns in made.values.items()})
                answer.failures += [one for one in made.failures if one.symbol not in newer]
                answer.longest = max(answer.longest, made.longest)

    def _computed(self, batch: _Batch) -> Answer:
        rows = joined([batch.rows[symbol] for symbol in sorted(batch.rows)])
        return ways.compute(self.source.workers, batch.task, lambda: iter([rows]), len(batch.rows))
