"""Trade types: which symbols a feed records."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from bmacdb.errors import UsageError
from bmacdb.model import Feed, Market, SymbolInfo
from bmacdb.symbols import (
    ALIASES,
    LEVERAGED_ENDINGS,
    NOT_LEVERAGED,
    STABLECOINS,
    TRADE_TYPES,
    SpotAssets,
    make_feed,
    parse_feed,
    select,
)


def info(symbol: str, base: str, quote: str, contract: str | None = None, status: str = "TRADING") -> SymbolInfo:
    return SymbolInfo(symbol, contract, status, base, quote, None, Decimal("0.1"), Decimal(1), None)


FUTURES = (
    info("ETHUSDT", "ETH", "USDT", "PERPETUAL"),
    info("BTCUSDT", "BTC", "USDT", "PERPETUAL"),
    info("BTCUSDC", "BTC", "USDC", "PERPETUAL"),
    info("ETHBTC", "ETH", "BTC", "PERPETUAL"),
    info("TSLAUSDT", "TSLA", "USDT", "TRADIFI_PERPETUAL"),
    info("BTCUSDT_261225", "BTC", "USDT", "CURRENT_QUARTER"),
    info("BTCUSDT_270326", "BTC", "USDT", "NEXT_QUARTER"),
    info("BTCUSDT_260925", "BTC", "USDT", "CURRENT_QUARTER DELIVERING"),
    info("GONEUSDT", "GONE", "USDT", "PERPETUAL", "SETTLING"),
    info("SOONUSDT", "SOON", "USDT", "PERPETUAL", "PENDING_TRADING"),
    info("币安人生USDT", "币安人生", "USDT", "PERPETUAL"),
    info("USDCUSDT", "USDC", "USDT", "PERPETUAL"),
    info("BTCUSD1", "BTC", "USD1", "PERPETUAL"),
    info("BTCU", "BTC", "U", "PERPETUAL"),
)
COIN = (
    info("BTCUSD_PERP", "BTC", "USD", "PERPETUAL"),
    info("BTCUSD_261225", "BTC", "USD", "CURRENT_QUARTER"),
)
SPOT = (
    info("BTCUSDT", "BTC", "USDT"),
    info("USDCUSDT", "USDC", "USDT"),
    info("BTCUPUSDT", "BTCUP", "USDT"),
    info("ETHBEARUSDT", "ETHBEAR", "USDT"),
    info("JUPUSDT", "JUP", "USDT"),
    info("SYRUPUSDT", "SYRUP", "USDT"),
    *(info(f"{base}USDT", base, "USDT") for base in ("U", "USD1", "BFUSD", "XUSD", "USDE")),
    info("TSLAXUSDT", "TSLAX", "USDT", "EQUITY"),
    info("BNBUSD1", "BNB", "USD1"),
    info("BNBU", "BNB", "U"),
    info("ETHUSDC", "ETH", "USDC"),
    info("ETHBTC", "ETH", "BTC"),
    info("HALTUSDT", "HALT", "USDT", None, "BREAK"),
)


@pytest.mark.parametrize(
    ("trade_type", "infos", "expected"),
    [
        ("usdt_perp", FUTURES, ["BTCUSDT", "ETHUSDT", "USDCUSDT", "币安人生USDT"]),
        ("usdc_perp", FUTURES, ["BTCUSDC"]),
        ("usd1_perp", FUTURES, ["BTCUSD1"]),
        ("u_perp", FUTURES, ["BTCU"]),
        ("usd1_spot", SPOT, ["BNBUSD1"]),
        ("u_spot", SPOT, ["BNBU"]),
        ("btc_perp", FUTURES, ["ETHBTC"]),
        ("usdt_tradfi_perp", FUTURES, ["TSLAUSDT"]),
        ("usdt_deli", FUTURES, ["BTCUSDT_261225", "BTCUSDT_270326"]),
        ("coin_perp", COIN, ["BTCUSD_PERP"]),
        ("coin_deli", COIN, ["BTCUSD_261225"]),
        ("usdt_spot", SPOT, ["BTCUSDT", "JUPUSDT", "SYRUPUSDT"]),
        ("usdc_spot", SPOT, ["ETHUSDC"]),
        ("btc_spot", SPOT, ["ETHBTC"]),
    ],
)
def test_each_trade_type_records_what_its_name_says(
    trade_type: str, infos: tuple[SymbolInfo, ...], expected: list[str]
) -> None:
    """What trades, of its quote asset and contract type; on spot neither stablecoins nor leveraged tokens."""
    assert list(select(make_feed(trade_type, "1m"), infos)) == expected


def test_every_trade_type_is_tested_above() -> None:
    """A new one needs a line there."""
    assert len(TRADE_TYPES) == 14


def test_the_symbols_to_keep_narrow_the_choice() -> None:
    """Those that do not trade are not added by it."""
    feed = make_feed("usdt_perp", "1m")
    assert list(select(feed, FUTURES, ["ETHUSDT", "GONEUSDT", "NOSUCHUSDT", "TSLAUSDT"])) == ["ETHUSDT"]
    assert select(feed, FUTURES, []) == {}


@pytest.mark.parametrize(
    ("base", "leveraged"), [("BTCUP", True), ("ETHDOWN", True), ("XRPBULL", True), ("JUP", False), ("SYRUP", False)]
)
def test_leveraged_tokens_are_told_by_their_ending(base: str, leveraged: bool) -> None:
    """But for the two coins that happen to end so."""
    assert SpotAssets().leave_out(base) is leveraged


def test_a_user_may_change_what_spot_leaves_out() -> None:
    """More of it, less of it; futures are not concerned."""
    assets = SpotAssets(include=frozenset({"USDC", "BTCUP", "TSLAX"}), exclude=frozenset({"BTC", "SYRUP"}))
    chosen = select(make_feed("usdt_spot", "1m"), SPOT, assets=assets)
    assert list(chosen) == ["BTCUPUSDT", "JUPUSDT", "TSLAXUSDT", "USDCUSDT"]
    perps = make_feed("usdt_perp", "1m")
    assert select(perps, FUTURES, assets=assets) == select(perps, FUTURES)


def test_the_page_for_users_has_the_lists() -> None:
    page = (Path(__file__).parents[1] / "docs/configuration.md").read_text("utf-8").split("### What spot leaves out")[1]
    pegged = page.split("- stablecoins: ")[1].split("- leveraged")[0]
    assert set(pegged.split()) == STABLECOINS
    ends, but_for = page.split("names that end with ")[1].splitlines()[0].split(", but for ")
    assert (tuple(ends.split()), set(but_for.split())) == (LEVERAGED_ENDINGS, NOT_LEVERAGED)


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_an_alias_is_recorded_under_the_canonical_name(alias: str, name: str) -> None:
    """The predecessor's usdt_swap is usdt_perp."""
    assert make_feed(alias, "5m") == make_feed(name, "5m")
    assert parse_feed(f"{alias}_5m").name == f"{name}_5m"


@pytest.mark.parametrize("trade_type", TRADE_TYPES)
@pytest.mark.parametrize("interval", ["1m", "12h", "3d", "1w", "1M"])
def test_a_feed_is_found_again_by_its_name(trade_type: str, interval: str) -> None:
    """Also by names in lower case alone: 1M is spelled 1mo, as schema names ignore case."""
    feed = make_feed(trade_type, interval)
    assert feed.name == feed.name.lower()
    assert parse_feed(feed.name) == feed
    assert isinstance(feed, Feed)


def test_seconds_are_for_spot_alone() -> None:
    """The exchange has none on futures."""
    assert make_feed("usdt_spot", "1s").market is Market.SPOT
    with pytest.raises(UsageError, match="spot alone"):
        make_feed("usdt_perp", "1s")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("usdt_deali", "usdt_deli"), ("usdt-perp", "usdt_perp"), ("USDT_SPOT", "usdt_spot"), ("usdt_swaps", "usdt_swap")],
)
def test_a_wrong_trade_type_is_told_the_nearest(name: str, hint: str) -> None:
    """With the value and all there are."""
    with pytest.raises(UsageError) as caught:
        make_feed(name, "1m")
    assert repr(name) in str(caught.value)
    assert f"Did you mean {hint}?" in str(caught.value)


@pytest.mark.parametrize("name", ["", "5m", "usdt_perp", "usdt_perp_", "usdt_perp_7m", "_5m"])
def test_what_is_no_feed_is_named(name: str) -> None:
    """Before anything is touched."""
    with pytest.raises(UsageError):
        parse_feed(name)
