"""Reading much of a feed a piece at a time, so that a live recorder answers within its memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from random import random
from time import monotonic, sleep
from typing import TypeVar

from bmacdb.clock import from_ms
from bmacdb.errors import QueryTooLarge
from bmacdb.sql import queries
from bmacdb.store.reader import Reader
from bmacdb.store.schema import quoted

__all__ = ["PIECE_ROWS", "patiently", "symbol_pieces"]

PIECE_ROWS = 50_000
"""Candles that a query of the program's own sorts at the recorder, which has 64 MB for the queries of all readers."""

_PATIENCE_S = 60.0
_T = TypeVar("_T")


def patiently(ask: Callable[[], _T]) -> _T:
    """What `ask` returns; asked again for a minute while other readers' queries leave too little memory for it.

    Raises QueryTooLarge, and what else `ask` does.
    """
    until, pause = monotonic() + _PATIENCE_S, 0.2
    while True:
        try:
            return ask()
        except QueryTooLarge:
            if monotonic() > until:
                raise
        sleep(pause * (0.5 + random()))  # two that wait for each other must not come back together
        pause = min(2 * pause, 3.0)


def symbol_pieces(
    reader: Reader, feed: str, *, symbols: Collection[str] | None, start_ms: int, end_ms: int, rows: int
) -> Iterator[tuple[list[str], int]]:
    """The symbols with candles in [start, end) in order, some at a time: of each group its symbols and its number of
    candles, which is `rows` at most, but where one symbol has more."""
    query = queries("reader")["symbol_counts"].sql.replace("feed.", f"{quoted(feed)}.")
    bounds = {"start": from_ms(start_ms), "end": from_ms(end_ms)}
    counted = patiently(lambda: reader.sql(query, {"symbols": None if symbols is None else sorted(symbols), **bounds}))
    group: list[str] = []
    total = 0
    for symbol, count in counted:
        if group and total + count > rows:
            yield group, total
            group, total = [], 0
        group.append(symbol)
        total += count
    if group:
        yield group, total
