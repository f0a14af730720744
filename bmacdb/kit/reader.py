"""The predecessor's readers over the database."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pandas as pd

from bmacdb.kit.database import Connection, DatabaseSource
from bmacdb.kit.engine import candles_of
from bmacdb.kit.range import quote
from bmacdb.kit.workers import Workers

__all__ = ["CandleReader"]


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
        self._source: DatabaseSource | None = None
        self._opened: Any = None

    def __repr__(self) -> str:
        return f"<CandleReader {self._path} feed={self._feed or 'the only one'}>"

    @property
    def source(self) -> DatabaseSource:
        """The feed. Raises StoreError when the file cannot be read, UsageError when the feed is not clear."""
        with self._opening:  # several calculations may be the first
            if self._source is None:
                connection: Any = self._opened or self._path
                if isinstance(connection, str | Path):
                    from bmacdb.store.reader import connect

                    connection = self._opened = connect(connection)
                self._source = DatabaseSource.of(connection, self._feed, self._lock, self._workers)
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
