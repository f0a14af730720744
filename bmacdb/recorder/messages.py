"""The messages of the main queue (to the Dispatcher) and of the REST queue (to the RestFetchers)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from bmacdb.model import Candle, FundingRate, FundingSnapshot, Gap, SymbolInfo

__all__ = [
    "Boundary",
    "CandleClosed",
    "ExchangeInfoFetched",
    "Fetch",
    "FetchFailed",
    "FundingFetched",
    "Message",
    "PageFetched",
    "Purpose",
    "RowsOffered",
    "Stop",
    "Tick",
]


class Purpose(IntEnum):
    """Why a page is fetched; the lower goes first."""

    LATE = 0  # the market of a run time waits for it
    REPAIR = 1
    HISTORY = 2


@dataclass(frozen=True, slots=True)
class CandleClosed:
    """A listener received a closed candle."""

    feed: str
    candle: Candle
    received_ms: int


@dataclass(frozen=True, slots=True)
class Fetch:
    """Ask the exchange for the bars of `symbol` that open in [start, end), at most one page."""

    feed: str
    symbol: str
    start_ms: int
    end_ms: int
    purpose: Purpose


@dataclass(frozen=True, slots=True)
class PageFetched:
    """The exchange's whole answer to a Fetch: what is not in `candles` did not exist at `answered_ms`."""

    fetch: Fetch
    candles: tuple[Candle, ...]
    answered_ms: int

    @property
    def feed(self) -> str:
        return self.fetch.feed


@dataclass(frozen=True, slots=True)
class FetchFailed:
    """A Fetch that came to nothing. `refused`: the exchange does not know the symbol; asking again will not help."""

    fetch: Fetch
    problem: str
    refused: bool

    @property
    def feed(self) -> str:
        return self.fetch.feed


@dataclass(frozen=True, slots=True)
class ExchangeInfoFetched:
    """The symbols of the feed's trade type, trading or not, as the exchange has them after the boundary `run_time_ms`
    (0: at no boundary)."""

    feed: str
    run_time_ms: int
    symbols: tuple[SymbolInfo, ...]
    starting: bool = False


@dataclass(frozen=True, slots=True)
class FundingFetched:
    """Running rates at `run_time_ms` (empty: not asked) and settled fundings."""

    feed: str
    run_time_ms: int
    snapshots: tuple[FundingSnapshot, ...]
    rates: tuple[FundingRate, ...]


@dataclass(frozen=True, slots=True, eq=False)
class RowsOffered:
    """Another process has rows for a feed, which may be one that is not recorded now. `done` is called when they are
    committed."""

    feed: str
    candles: tuple[Candle, ...]
    funding_rates: tuple[FundingRate, ...]
    gaps: tuple[Gap, ...]
    done: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Boundary:
    """The exchange's clock passed `run_time_ms`."""

    feed: str
    run_time_ms: int


@dataclass(frozen=True, slots=True)
class Tick:
    """A second of the exchange's time has passed: look at what is late."""

    feed: str


@dataclass(frozen=True, slots=True)
class Stop:
    """The producers have ended: whoever consumes this has consumed everything."""


Message = (
    CandleClosed | PageFetched | FetchFailed | ExchangeInfoFetched | FundingFetched | RowsOffered | Boundary | Tick
)
