"""The predecessor's files, made from a feed: candles, exchange info, running funding rates, ready files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import pyarrow as pa

from bmacdb.clock import Clock
from bmacdb.errors import UsageError
from bmacdb.export.files import ReadyFiles, write_table
from bmacdb.export.names import BmacNames
from bmacdb.export.tables import candle_table, exginfo_table, funding_table, recorded_rules
from bmacdb.model import EXGINFO_ITEM, FUNDING_ITEM, SymbolInfo
from bmacdb.sql import queries
from bmacdb.store.schema import quoted

__all__ = ["Ask", "BmacExport"]

Ask = Callable[[str, Mapping[str, object]], pa.Table]
"""Answers a query with its parameters."""

_PIECE_ROWS = 200_000  # candles read at once: some 20 MB; every piece reads through the whole window


class BmacExport:
    """Writes the files of one feed. `num_candles` is how many candles a file holds at most."""

    def __init__(self, ask: Ask, names: BmacNames, *, num_candles: int, clock: Clock) -> None:
        self.names = names
        self._ask, self._num_candles, self._clock = ask, num_candles, clock
        self._feed, self._interval = names.feed, names.feed.interval
        self._first: dict[str, int] = {}
        self.rules: Sequence[SymbolInfo] | None = None
        """The trading rules as the exchange last told them, if they are known; else those in the database are taken."""
        self._ready = {folder: ReadyFiles(folder) for folder in (names.candle_dir, names.exginfo_dir)}

    def __repr__(self) -> str:
        return f"<BmacExport {self.names.candle_dir}>"

    def _answer(self, name: str, **params: object) -> pa.Table:
        text = queries("export")[name].sql.replace("feed.", f"{quoted(self._feed.name)}.")
        return self._ask(text.format(step=self._interval.step), params)

    def newest_run_time_ms(self) -> int:
        """The newest run time at which the market was complete; without one, that of the last candle.

        Raises UsageError where there is no candle.
        """
        found = self._answer("newest").column(0)[0].as_py()
        if found is None:
            last = self._answer("last").column(0)[0].as_py()
            if last is None:
                raise UsageError(f"{self._feed.name} holds no candle yet: nothing to export.")
            found = self._interval.next(last)
        return int(found)

    def export(self, run_time_ms: int, *, symbols: Collection[str] | None = None) -> int:
        """Everything as of a run time; returns how many files of candles were written. Raises Unwritable."""
        self.exginfo(run_time_ms)
        last = self._answer("last_funding", end=run_time_ms).column(0)[0].as_py()
        if last is not None:
            self.funding(int(last))
        open_ms = self._interval.shift(run_time_ms, -1)
        there = self._answer("there", open_time=open_ms).column(0).to_pylist()
        wanted = there if symbols is None else [symbol for symbol in there if symbol in set(symbols)]
        return sum(1 for _ in self.candles(wanted, run_time_ms))

    def exginfo(self, run_time_ms: int) -> None:
        """The trading rules of the symbols that trade. Raises Unwritable."""
        market = self._feed.market
        rules = recorded_rules(self._answer("exginfo"), market) if self.rules is None else self.rules
        table = exginfo_table([one for one in rules if one.status == "TRADING"], market)
        self._write(EXGINFO_ITEM, table, run_time_ms)

    def funding(self, run_time_ms: int) -> None:
        """The running funding rates of the last `num_candles` run times. Raises Unwritable."""
        start_ms = self._interval.shift(run_time_ms, -self._num_candles)
        self._write(FUNDING_ITEM, funding_table(self._answer("funding", start=start_ms, end=run_time_ms)), run_time_ms)

    def candles(self, symbols: Sequence[str], run_time_ms: int) -> Iterator[str]:
        """The candles of symbols that have one of `run_time_ms`, which ends their files; yields each that is written.

        Raises Unwritable.
        """
        if not self._first:
            self._first = dict(zip(*(column.to_pylist() for column in self._answer("first").columns), strict=True))
        start_ms = self._interval.shift(run_time_ms, -self._num_candles)
        number = max(1, _PIECE_ROWS // self._num_candles)
        for place in range(0, len(symbols), number):
            piece = list(symbols[place : place + number])
            rows = self._rows("candles", symbols=piece, start=start_ms, end=run_time_ms)
            # A symbol with a hole has fewer in the time of num_candles: it gets older ones in their place.
            short = [
                symbol
                for symbol in piece
                if symbol in rows
                and rows[symbol].num_rows < self._num_candles
                and self._first.setdefault(symbol, rows[symbol]["candle_begin_time"][0].value // 1000) < start_ms
            ]
            if short:
                rows |= self._rows("last_candles", symbols=short, end=run_time_ms, limit=self._num_candles)
            for symbol, table in rows.items():
                indexed = self.names.save_type == "parquet"
                self._write(symbol, candle_table(table, indexed=indexed), run_time_ms)
                yield symbol

    def _rows(self, query: str, **params: object) -> dict[str, pa.Table]:
        """The answer to a query for candles, by symbol."""
        table = self._answer(query, **params).combine_chunks()
        encoded = table["symbol"].combine_chunks()
        runs = pa.compute.run_end_encode(encoded)
        found = {}
        place = 0
        for symbol, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
            found[symbol] = table.slice(place, end - place)
            place = end
        return found

    def _write(self, item: str, table: pa.Table, run_time_ms: int) -> None:
        write_table(table, self.names.data_file(item), self.names.save_type)
        self._ready[self.names.folder(item)].mark(item, self.names.ready_file(item, run_time_ms), self._clock.now_ms())
