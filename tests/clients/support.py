"""What the tests with other people's clients share: one that may be missing, and the truth that it is held against."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from types import ModuleType

import pytest

from bmacdb.interval import MINUTE_MS
from bmacdb.model import Market
from bmacdb.simulated import SimulatedExchange

SPEED = 240.0
"""A minute takes a quarter of a second: candles close while a test waits."""

SYMBOLS = {Market.SPOT: "BTCUSDT", Market.USDT_FUTURES: "BTCUSDT", Market.COIN_FUTURES: "BTCUSD_PERP"}


def client(module: str, package: str) -> ModuleType:
    """A client's module; where it is not installed, the tests of it are skipped with what to install."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(module)
        except ImportError:
            pytest.skip(f"{package} is not installed: pip install {package}", allow_module_level=True)


def agrees(
    exchange: SimulatedExchange, market: Market, rows: Sequence[Sequence[object]], *, volume: str = "volume"
) -> None:
    """Rows (open time, open, high, low, close, volume …) of minutes are the exchange's own, and there are some.

    `volume` names the exchange's number that stands in the sixth place.
    """
    assert rows
    starts = [int(str(row[0])) for row in rows]
    bars = exchange.expected(market, SYMBOLS[market], "1m", starts[0], starts[-1] + MINUTE_MS)
    assert starts == [bar.open_time_ms for bar in bars]
    assert [[float(str(value)) for value in row[1:6]] for row in rows] == [
        [*bar[1:5], getattr(bar, volume)] for bar in bars
    ]
