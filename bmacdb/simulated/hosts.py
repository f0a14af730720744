"""Which address serves what: a host for each market, as the exchange has them, and a front that serves all markets.

Since 2026-04-23 the streams of USD-M flow on the paths /market, /public and /private alone. Its old paths still accept
connections and acknowledge subscriptions, and send nothing. Of COIN-M the reports disagree: see `CoinPaths`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bmacdb.model import Market

__all__ = ["REST_PATHS", "CoinPaths", "SocketPath", "socket_paths"]

CoinPaths = Literal["both", "routed", "unrouted"]
"""Which websocket paths of COIN-M's host send: routed ones (`/market/stream`), unrouted ones (`/stream`), or both."""

REST_PATHS = {Market.SPOT: "/api/v3", Market.USDT_FUTURES: "/fapi/v1", Market.COIN_FUTURES: "/dapi/v1"}

_NONE: frozenset[str] = frozenset()
_SPOT = frozenset({"kline", "bookTicker"})
_ROUTED = {
    "/market": frozenset({"kline", "continuousKline", "markPrice"}),
    "/public": frozenset({"bookTicker"}),
    "/private": _NONE,  # orders and balances, of which the stand-in has none
}
_FUTURES = _NONE.union(*_ROUTED.values())


@dataclass(frozen=True, slots=True)
class SocketPath:
    """What a websocket path sends: some kinds of streams, of spot or of futures, wrapped with their names or bare."""

    futures: bool
    kinds: frozenset[str]
    combined: bool


def socket_paths(market: Market | None, coin_paths: CoinPaths) -> dict[str, SocketPath]:
    """The websocket paths of a market's host. None: of the front, below its own path; unrouted ones are spot's."""
    match market:
        case Market.SPOT:
            kinds = {"": _SPOT}
        case Market.USDT_FUTURES:
            kinds = {"": _NONE} | _ROUTED
        case Market.COIN_FUTURES:
            kinds = {"": _NONE if coin_paths == "routed" else _FUTURES}
            kinds |= dict.fromkeys(_ROUTED, _NONE) if coin_paths == "unrouted" else _ROUTED
        case None:
            kinds = {"": _SPOT} | _ROUTED
    return {
        route + ending: SocketPath(sent is not _SPOT, sent, combined)
        for route, sent in kinds.items()
        for ending, combined in (("/stream", True), ("/ws", False))
    }
