"""What the kit reads from: a connection of bmacdb's, or a plain DuckDB one, and a feed in it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import duckdb
import pandas as pd
import pyarrow as pa

from bmacdb.errors import StoreError, UsageError, did_you_mean
from bmacdb.factors.call import check_identifier
from bmacdb.interval import Interval
from bmacdb.kit.range import quote
from bmacdb.kit.workers import Workers
from bmacdb.symbols import parse_feed

__all__ = ["CandleReader", "Connection", "Source"]


class Connection(Protocol):
    """What is asked of a connection; `bmacdb.connect` gives one."""

    def sql(self, query: str, /) -> Any:
        """An answer with `.arrow()`."""


@dataclass(frozen=True, slots=True)
class Source:
    """A feed and the way to ask for it. One question at a time: a connection is no place for two threads."""

    connection: Connection
    schema: str
    interval: Interval
    num_candles: int
    lock: threading.Lock
    workers: Workers

    @classmethod
    def of(
        cls,
        connection: Connection,
        feed: str | None = None,
        lock: threading.Lock | None = None,
        workers: Workers | None = None,
    ) -> Source:
        """The feed called `feed`, or the only one. Raises UsageError when it is not there or not clear."""
        wanted = None if feed is None else parse_feed(check_identifier(feed, "feed name")).name
        lock = lock or threading.Lock()
        with lock:
            found = _ask(
                connection,
                'SELECT feed, "interval", epoch_ms(anchor) AS anchor_ms, num_candles FROM main.feeds ORDER BY feed',
            ).to_pylist()
        names = [row["feed"] for row in found]
        if not names:
            raise UsageError("the database holds no feed yet: start the recorder first (`bmacdb run`).")
        if wanted is None:
            if len(names) > 1:
                raise UsageError(f"the database holds {', '.join(names)}: say which, as --feed {names[0]} or feed=….")
            wanted = names[0]
        row = next((row for row in found if row["feed"] == wanted), None)
        if row is None:
            hint = did_you_mean(wanted, names)
            raise UsageError(f"feed {wanted!r} is not in the database, which holds {', '.join(names)}.{hint}")
        check_identifier(wanted, "feed name")
        interval = Interval.parse(row["interval"]).anchored(row["anchor_ms"])
        return cls(connection, wanted, interval, row["num_candles"], lock, workers or Workers(1))

    def ask(self, query: str) -> pa.Table:
        """The answer to one SELECT."""
        with self.lock:
            return _ask(self.connection, query)

    def number(self, query: str) -> int | None:
        """The only value of an answer."""
        rows = self.ask(query)
        return rows.column(0)[0].as_py() if rows.num_rows else None

    def latest_run_time_ms(self) -> int:
        """The newest run time at which the market was complete; without one, that of the newest candle.

        Raises UsageError when there is no candle at all.
        """
        complete = self.number(
            f'SELECT epoch_ms(max(run_time)) FROM "{self.schema}".runs WHERE complete_at IS NOT NULL'
        )
        if complete is not None:
            return complete
        newest = self.number(f'SELECT epoch_ms(max(open_time)) FROM "{self.schema}".candles')
        if newest is None:
            raise UsageError(f"feed {self.schema} holds no candle yet: wait for the recorder's first.")
        return self.interval.next(newest)


def _ask(connection: Connection, query: str) -> pa.Table:
    try:
        if isinstance(connection, duckdb.DuckDBPyConnection):
            return connection.execute(query).to_arrow_table()
        answer = connection.sql(query).arrow()
    except duckdb.Error as exc:
        raise StoreError(f"the database refused a query of the kit: {exc}") from exc
    return answer.read_all() if isinstance(answer, pa.RecordBatchReader) else answer


class CandleReader:
    """Stands for both of the predecessor's readers, that of candles and that of exchange info.

    `path` is the database (`bmac.duckdb`), or a connection that is open already; `feed` is needed where the database
    holds several. It is opened at the first question.

    `workers` is in how many processes Python factors are computed, 1 for none but this one; by default it is the number
    of cores, once there is enough to compute. They start with the first calculation that needs them, and `close` ends
    them; results are the same to the last bit. What a factor prints there goes to stderr.
    """

    def __init__(self, path: str | Path | Connection, feed: str | None = None, *, workers: int | None = None) -> None:
        self._path = path
        self._workers = Workers(workers)
        self._feed = feed
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        self._source: Source | None = None
        self._opened: Any = None

    def __repr__(self) -> str:
        return f"<CandleReader {self._path} feed={self._feed or 'the only one'}>"

    @property
    def source(self) -> Source:
        """The feed. Raises StoreError when the file cannot be read, UsageError when the feed is not clear."""
        with self._opening:  # several calculations may be the first
            if self._source is None:
                connection: Any = self._opened or self._path
                if isinstance(connection, str | Path):
                    from bmacdb.store.reader import connect

                    connection = self._opened = connect(connection)
                self._source = Source.of(connection, self._feed, self._lock, self._workers)
            return self._source

    def close(self) -> None:
        """Close what was opened here, and end the workers; a connection that was given stays open."""
        self._workers.close()
        if self._opened is not None:
            self._opened.close()
        self._opened = self._source = None

    def __enter__(self) -> CandleReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def read_candle(self, symbol: str) -> pd.DataFrame:
        """The last num_candles candles: index candle_end_time, candle_begin_time and the candle columns as float64."""
        from bmacdb.kit.engine import candles_of

        return candles_of(self.source, symbol)

    def read_exginfo(self) -> pd.DataFrame:
        """The trading rules in force, one row per symbol that trades."""
        schema = self.source.schema
        rows = self.source.ask(
            f"SELECT symbol, contract_type, status, base_asset, quote_asset, margin_asset, price_tick, lot_size,"
            f' min_notional_value FROM (SELECT * FROM "{schema}".exginfo'
            f" QUALIFY row_number() OVER (PARTITION BY symbol ORDER BY valid_from DESC) = 1)"
            f" WHERE status = {quote('TRADING')} ORDER BY symbol"
        )
        return rows.to_pandas()
