"""Trade types: which symbols of which market a feed records."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from bmacdb.errors import UsageError, did_you_mean
from bmacdb.interval import Interval
from bmacdb.model import Feed, Market, SymbolInfo

__all__ = [
    "ALIASES",
    "LEVERAGED_ENDINGS",
    "NOT_LEVERAGED",
    "STABLECOINS",
    "TRADE_TYPES",
    "SpotAssets",
    "TradeType",
    "base_name",
    "check_symbols",
    "make_feed",
    "parse_feed",
    "select",
]

_PEGGED = (
    "USDT USDC BUSD TUSD FDUSD USDP USDS USDSOLD DAI USD1 RLUSD U BFUSD XUSD USDE PAX UST VAI USDSB SUSD AEUR EURI "
    "BKRW BIDR IDRT BVND GYEN"
)

# docs/configuration.md shows these three to users.
STABLECOINS: frozenset[str] = frozenset(_PEGGED.split())
"""Base assets whose spot pairs move no more than their peg."""

LEVERAGED_ENDINGS = ("UP", "DOWN", "BULL", "BEAR")
"""Ends of leveraged tokens (BTCUP, ETHBEAR), which decay and are no assets of their own."""

NOT_LEVERAGED = frozenset({"JUP", "SYRUP"})


@dataclass(frozen=True, slots=True)
class SpotAssets:
    """What a user changes of the lists above: base assets that spot feeds record all the same, or leave out as well."""

    include: frozenset[str] = frozenset()
    exclude: frozenset[str] = frozenset()

    def leave_out(self, base_asset: str) -> bool:
        """Whether spot feeds are without the pairs of an asset."""
        if base_asset in self.include:
            return False
        leveraged = base_asset.endswith(LEVERAGED_ENDINGS) and base_asset not in NOT_LEVERAGED
        return leveraged or base_asset in STABLECOINS or base_asset in self.exclude


_DEFAULT = SpotAssets()


@dataclass(frozen=True, slots=True)
class TradeType:
    """A market, and what of it is recorded."""

    name: str
    market: Market
    quote_asset: str
    contract_types: frozenset[str] = frozenset()

    def takes(self, info: SymbolInfo, assets: SpotAssets = _DEFAULT) -> bool:
        """Whether a symbol belongs to this trade type, trading or not."""
        if info.quote_asset != self.quote_asset:
            return False
        if self.market is Market.SPOT:
            # A spot symbol has a contract type where exchange info calls it something else than a coin, as a stock.
            coin = not info.contract_type or info.base_asset in assets.include
            return coin and not assets.leave_out(info.base_asset)
        return info.contract_type in self.contract_types


_PERPETUAL = frozenset({"PERPETUAL"})
_TRADFI = frozenset({"TRADIFI_PERPETUAL"})  # the exchange's own spelling
_DELIVERY = frozenset({"CURRENT_QUARTER", "NEXT_QUARTER"})

TRADE_TYPES: dict[str, TradeType] = {
    t.name: t
    for t in (
        TradeType("usdt_spot", Market.SPOT, "USDT"),
        TradeType("usdc_spot", Market.SPOT, "USDC"),
        TradeType("usd1_spot", Market.SPOT, "USD1"),
        TradeType("u_spot", Market.SPOT, "U"),
        TradeType("btc_spot", Market.SPOT, "BTC"),
        TradeType("usdt_perp", Market.USDT_FUTURES, "USDT", _PERPETUAL),
        TradeType("usdc_perp", Market.USDT_FUTURES, "USDC", _PERPETUAL),
        TradeType("usd1_perp", Market.USDT_FUTURES, "USD1", _PERPETUAL),
        TradeType("u_perp", Market.USDT_FUTURES, "U", _PERPETUAL),
        TradeType("btc_perp", Market.USDT_FUTURES, "BTC", _PERPETUAL),
        TradeType("usdt_tradfi_perp", Market.USDT_FUTURES, "USDT", _TRADFI),
        TradeType("usdt_deli", Market.USDT_FUTURES, "USDT", _DELIVERY),
        TradeType("coin_perp", Market.COIN_FUTURES, "USD", _PERPETUAL),
        TradeType("coin_deli", Market.COIN_FUTURES, "USD", _DELIVERY),
    )
}

ALIASES: dict[str, str] = {"usdt_swap": "usdt_perp", "coin_swap": "coin_perp"}
"""The predecessor's other names; recorded under the canonical one."""


def make_feed(trade_type: str, interval: str) -> Feed:
    """The feed of a trade type (or alias) at an interval.

    Raises UsageError naming the value and the nearest valid one.
    """
    known = TRADE_TYPES.get(ALIASES.get(trade_type, trade_type))
    if known is None:
        names = [*TRADE_TYPES, *ALIASES]
        raise UsageError(
            f"trade type {trade_type!r} is not one of {', '.join(names)}.{did_you_mean(trade_type, names)}"
        )
    parsed = Interval.parse(interval)
    if parsed.name == "1s" and known.market is not Market.SPOT:
        raise UsageError(f"interval '1s' exists on spot alone, and {known.name} is futures: the shortest there is 1m.")
    return Feed(known.name, parsed, known.market, alias=trade_type if trade_type in ALIASES else "")


def parse_feed(name: str) -> Feed:
    """The feed called `usdt_perp_5m`. Raises UsageError as `make_feed` does."""
    trade_type, _, interval = name.rpartition("_")
    if not trade_type:
        raise UsageError(f"feed {name!r} is not of the form TRADE_TYPE_INTERVAL, as usdt_perp_5m is.")
    return make_feed(trade_type, "1M" if interval == "1mo" else interval)


def base_name(name: str) -> str:
    """The feed that the bars of a schema are made of: usdt_perp_5m of usdt_perp_5m_to_1h, and of itself."""
    return name.partition("_to_")[0]


def check_symbols(symbols: Iterable[str], known: Collection[str], place: str) -> None:
    """Raises UsageError for symbols that are not in `known`, with the nearest names; `place` is where they are not."""
    unknown = sorted(set(symbols) - set(known))
    if not unknown:
        return
    near = {name: get_close_matches(name.upper(), known, n=3) for name in unknown[:5]}
    told = [f"{name} (did you mean {' or '.join(found)}?)" if found else name for name, found in near.items()]
    more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
    raise UsageError(f"{place} has no symbol {', '.join(told)}{more}.")


def select(
    feed: Feed, infos: Iterable[SymbolInfo], keep: Iterable[str] | None = None, *, assets: SpotAssets = _DEFAULT
) -> dict[str, SymbolInfo]:
    """The symbols that a feed records now, by name: of its trade type, trading, and in `keep` where given."""
    trade_type = TRADE_TYPES[feed.trade_type]
    wanted = None if keep is None else frozenset(keep)
    return {
        info.symbol: info
        for info in sorted(infos, key=lambda info: info.symbol)
        if info.status == "TRADING" and trade_type.takes(info, assets) and (wanted is None or info.symbol in wanted)
    }
