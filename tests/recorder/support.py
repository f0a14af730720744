"""What the recorder's tests share: a small market on a minute grid."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from bmacdb.interval import MINUTE_MS
from bmacdb.model import Candle, Source, SymbolInfo
from bmacdb.recorder.decide import FeedState
from bmacdb.recorder.decision import Decision
from bmacdb.recorder.messages import CandleClosed, ExchangeInfoFetched, Fetch, PageFetched, Purpose
from bmacdb.symbols import parse_feed

FEED = parse_feed("usdt_perp_1m")
T0 = 1_700_000_040_000 // MINUTE_MS * MINUTE_MS
"""A boundary."""


def info(symbol: str, status: str = "TRADING", onboard_ms: int | None = None) -> SymbolInfo:
    base = symbol.removesuffix("USDT")
    return SymbolInfo(
        symbol, "PERPETUAL", status, base, "USDT", "USDT", Decimal("0.1"), Decimal("0.001"), Decimal(5), onboard_ms
    )


def candle(symbol: str, open_ms: int, *, close: float = 1.0, trades: int = 7, source: Source = Source.WS) -> Candle:
    return Candle(symbol, open_ms, 1.0, max(1.0, close), min(1.0, close), close, 10.0, 10.0, trades, 5.0, 5.0, source)


def closed(symbol: str, open_ms: int, *, after_ms: int = 50, close: float = 1.0) -> CandleClosed:
    """The bar as the websocket brings it, `after_ms` after its close."""
    return CandleClosed(FEED.name, candle(symbol, open_ms, close=close), open_ms + MINUTE_MS + after_ms)


def listed(*symbols: str, run_time_ms: int = 0, halted: Iterable[str] = ()) -> ExchangeInfoFetched:
    infos = [info(symbol) for symbol in symbols] + [info(symbol, "SETTLING") for symbol in halted]
    return ExchangeInfoFetched(FEED.name, run_time_ms, tuple(infos), starting=not run_time_ms)


def page(
    symbol: str,
    start_ms: int,
    end_ms: int,
    present: Iterable[int],
    *,
    purpose: Purpose,
    answered_ms: int,
    source: Source = Source.REST,
) -> PageFetched:
    """The exchange's answer with the bars that open at `present`."""
    bars = tuple(candle(symbol, open_ms, source=source) for open_ms in present)
    return PageFetched(Fetch(FEED.name, symbol, start_ms, end_ms, purpose), bars, answered_ms)


def live_state(*symbols: str) -> FeedState:
    """A feed that expects `symbols` and goes live at the run time T0."""
    state = FeedState(FEED, close_timeout_ms=15_000, page_rows=499, settle_ms=15_000)
    state.take(listed(*symbols), T0 - MINUTE_MS, Decision())
    state.go_live(T0)
    return state
