"""The values that travel between exchange, recorder and store.

Prices and volumes are floats as the exchange prints them; instants are integer milliseconds of UTC.
On COIN-M, as on the exchange, `volume` counts contracts and `quote_volume` is in the base asset.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

import msgspec

from bmacdb.interval import Interval

__all__ = [
    "CANDLE_VALUES",
    "EXGINFO_ITEM",
    "FUNDING_ITEM",
    "Batch",
    "Candle",
    "Feed",
    "FundingRate",
    "FundingSnapshot",
    "Gap",
    "GapState",
    "Market",
    "Ready",
    "Run",
    "RunState",
    "Segment",
    "Source",
    "SymbolInfo",
]

CANDLE_VALUES = (
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "trade_num",
    "taker_buy_base_asset_volume",
    "taker_buy_quote_asset_volume",
)
"""Columns of a candle after its times, in order. Named as the fields of Candle."""

EXGINFO_ITEM = "exginfo"
FUNDING_ITEM = "funding"
"""Items of run_status that are no symbols."""


class Market(StrEnum):
    """Where a symbol trades; the predecessor's names."""

    SPOT = "spot"
    USDT_FUTURES = "usdt_futures"
    COIN_FUTURES = "coin_futures"


class Source(StrEnum):
    """Where a row comes from. Later members outrank earlier ones when they disagree on a bar.

    PROVISIONAL is a bar that REST gave so soon after its close that it may still change: no run is ready by it, and it
    is asked for again until another source has confirmed or corrected it.
    """

    FILL = "fill"
    PROVISIONAL = "provisional"
    WS = "ws"
    REST = "rest"
    ARCHIVE = "archive"


class Candle(msgspec.Struct, frozen=True, gc=False):
    """One closed bar. (A msgspec struct and not a dataclass: history makes them by the million.)"""

    symbol: str
    open_time_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float
    trade_num: int
    taker_buy_base_asset_volume: float
    taker_buy_quote_asset_volume: float
    source: Source


@dataclass(frozen=True, slots=True)
class Feed:
    """A trade type at an interval: what is recorded together in one schema.

    `alias` is the predecessor's name of the trade type (usdt_swap), where the feed was asked for by that.
    """

    trade_type: str
    interval: Interval
    market: Market
    alias: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """`usdt_perp_5m`: the name of the schema. (`1M` is spelled `1mo`: schema names ignore case.)"""
        return f"{self.trade_type}_{'1mo' if self.interval.name == '1M' else self.interval.name}"


@dataclass(frozen=True, slots=True)
class SymbolInfo:
    """The trading rules of a symbol. `status` is stored as the exchange spells it, unknown values too.

    None where the market has no such field: spot has no contract_type, margin_asset and dates, COIN-M no
    min_notional_value (and its lot_size is the contract size).
    """

    symbol: str
    contract_type: str | None
    status: str
    base_asset: str
    quote_asset: str
    margin_asset: str | None
    price_tick: Decimal
    lot_size: Decimal
    min_notional_value: Decimal | None
    onboard_ms: int | None = None
    delivery_ms: int | None = None


@dataclass(frozen=True, slots=True)
class FundingRate:
    """One settled funding. `funding_time_ms` is the exchange's raw stamp, some milliseconds late at times."""

    symbol: str
    funding_time_ms: int
    rate_type: str
    funding_rate: float
    mark_price: float | None


@dataclass(frozen=True, slots=True)
class FundingSnapshot:
    """The running rate of the current funding period at a run time; None where there is none."""

    run_time_ms: int
    symbol: str
    funding_rate: float | None
    next_funding_time_ms: int | None
    mark_price: float | None
    index_price: float | None


@dataclass(frozen=True, slots=True)
class Ready:
    """`item` (a symbol, `exginfo` or `funding`) is there for `run_time`."""

    run_time_ms: int
    item: str
    ready_at_ms: int
    source: str


class RunState(StrEnum):
    """`open` until it is `complete`, or `late` at its deadline; `halted` when nothing of the feed trades."""

    OPEN = "open"
    LATE = "late"
    COMPLETE = "complete"
    HALTED = "halted"


@dataclass(frozen=True, slots=True)
class Run:
    """One period of a feed, as far as it has got. `missing` names what was late at the deadline, and stays."""

    run_time_ms: int
    expected: int
    ready: int
    complete_at_ms: int | None
    last_item: str | None
    repaired: int
    missing: tuple[str, ...]

    @property
    def state(self) -> RunState:
        """How far it is: what is expected of a market that is halted is nothing."""
        if self.complete_at_ms is not None:
            return RunState.COMPLETE
        if not self.expected:
            return RunState.HALTED
        return RunState.LATE if self.missing else RunState.OPEN


class GapState(StrEnum):
    """A hole in the record is `open` until it is `filled`, or the exchange has proved it `absent`."""

    OPEN = "open"
    FILLED = "filled"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Gap:
    """Bars of `symbol` that open in [gap_start, gap_end) and are not in the record."""

    symbol: str
    gap_start_ms: int
    gap_end_ms: int
    state: GapState
    reason: str
    found_at_ms: int
    closed_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """An unbroken run of bars: first open time, and the first open time that is no part of it."""

    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What one transaction writes into one feed. Readiness stands with the data it vouches for.

    `exginfo` is the whole list of the feed's symbols as of `recorded_at_ms` (None: not asked); the
    store writes only what has changed. Rows with the key of a stored one replace it (`runs`, `gaps`) or are
    left out (`ready`, funding); candles follow the precedence of their source.
    """

    feed: str
    recorded_at_ms: int
    candles: tuple[Candle, ...] = ()
    ready: tuple[Ready, ...] = ()
    runs: tuple[Run, ...] = ()
    exginfo: tuple[SymbolInfo, ...] | None = None
    funding_rates: tuple[FundingRate, ...] = ()
    funding_snapshots: tuple[FundingSnapshot, ...] = ()
    gaps: tuple[Gap, ...] = ()
