"""bmacdb records the Binance market into one DuckDB file and hands it to every reader on the machine."""

from bmacdb.errors import BmacdbError, ConfigError, ExchangeError, StoreError, UsageError

__all__ = ["BmacdbError", "ConfigError", "ExchangeError", "StoreError", "UsageError", "__version__"]

__version__ = "0.1.0"
