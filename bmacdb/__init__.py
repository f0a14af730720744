"""bmacdb records the Binance market into one DuckDB file and hands it to every reader on the machine."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bmacdb.errors import BmacdbError, ConfigError, ExchangeError, StoreError, UsageError

if TYPE_CHECKING:
    from bmacdb.live.market import Market, subscribe
    from bmacdb.store.reader import Reader, connect

__all__ = [
    "BmacdbError",
    "ConfigError",
    "ExchangeError",
    "Market",
    "Reader",
    "StoreError",
    "UsageError",
    "__version__",
    "connect",
    "subscribe",
]

__version__ = "0.1.0"

_LAZY = {
    "Market": "bmacdb.live.market",
    "Reader": "bmacdb.store.reader",
    "connect": "bmacdb.store.reader",
    "subscribe": "bmacdb.live.market",
}


def __getattr__(name: str) -> Any:
    # Readers need DuckDB and Arrow; `import bmacdb` alone must stay light.
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
