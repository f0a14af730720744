"""Which symbols of the archive belong to a trade type, those included that trade no more. Pure.

The archive knows names alone. A symbol that the exchange still lists is judged by what the exchange says of it, any
other by its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from bmacdb.clock import to_ms
from bmacdb.model import Market, SymbolInfo
from bmacdb.symbols import TRADE_TYPES, SpotAssets, TradeType

__all__ = ["NEVER_MS", "delivered_ms", "members", "named_like"]

NEVER_MS = 4_000_000_000_000
"""Delivery dates from here on mean none."""

_DELIVERY_HOUR = 8
_DELIVERY = re.compile(r"_[0-9]{6}$")
_SETTLED = re.compile(r"_?SETTLED[0-9]*$")  # as the archive calls contracts whose name was used again


def named_like(trade_type: TradeType, symbol: str) -> bool:
    """Whether a name is that of a symbol of the trade type."""
    delivery = any(kind.endswith("QUARTER") for kind in trade_type.contract_types)
    if trade_type.market is Market.SPOT:
        base = symbol.removesuffix(trade_type.quote_asset)
        return base not in ("", symbol) and not SpotAssets().leave_out(base)
    name = _SETTLED.sub("", symbol)
    if delivery != bool(_DELIVERY.search(name)):
        return False
    name = _DELIVERY.sub("", name)
    if trade_type.market is Market.COIN_FUTURES:
        name = name.removesuffix("_PERP")
    base = name.removesuffix(trade_type.quote_asset)
    return base not in ("", name) and "_" not in base


def delivered_ms(symbol: str, known: Mapping[str, SymbolInfo] | None = None) -> int | None:
    """When a contract is delivered or settled, by what the exchange tells of it, else by its name (08:00 UTC of the day
    in it); None: not known, or never."""
    info = (known or {}).get(symbol)
    if info is not None and info.delivery_ms:
        return info.delivery_ms if info.delivery_ms < NEVER_MS else None
    if (named := _DELIVERY.search(symbol)) is None:
        return None
    try:
        return to_ms(datetime.strptime(named[0], "_%y%m%d").replace(hour=_DELIVERY_HOUR, tzinfo=UTC))
    except ValueError:
        return None


def members(trade_type: str, symbols: Iterable[str], known: Mapping[str, SymbolInfo] | None = None) -> tuple[str, ...]:
    """Those of `symbols` that are of the trade type, in order. `known` is what the exchange tells of those it lists.

    Names do not tell stocks and metals (`usdt_tradfi_perp`) from coins: of those the exchange must be asked.
    """
    wanted, known = TRADE_TYPES[trade_type], known or {}
    kinds = {"PERPETUAL", "CURRENT_QUARTER", "NEXT_QUARTER"}
    by_name = wanted.market is Market.SPOT or bool(wanted.contract_types & kinds)

    def takes(symbol: str) -> bool:
        info = known.get(symbol)
        if info is not None and (info.contract_type or wanted.market is Market.SPOT):
            return wanted.takes(info)
        return by_name and named_like(wanted, symbol)

    return tuple(sorted(symbol for symbol in set(symbols) if takes(symbol)))
