"""Where requests go, and which URLs are refused."""

from __future__ import annotations

import pytest

from bmacdb.errors import UsageError
from bmacdb.exchange.endpoints import Endpoints
from bmacdb.model import Market


def test_the_exchanges_own_addresses() -> None:
    """USD-M streams are routed: an unrouted socket acknowledges and stays silent."""
    endpoints = Endpoints()
    assert endpoints.rest(Market.SPOT) == "https://api.binance.com/api/v3"
    assert endpoints.rest(Market.USDT_FUTURES) == "https://fapi.binance.com/fapi/v1"
    assert endpoints.rest(Market.COIN_FUTURES) == "https://dapi.binance.com/dapi/v1"
    assert endpoints.stream(Market.SPOT) == "wss://stream.binance.com:9443/stream"
    assert endpoints.stream(Market.USDT_FUTURES) == "wss://fstream.binance.com/market/stream"
    assert endpoints.stream(Market.COIN_FUTURES) == "wss://dstream.binance.com/market/stream"
    assert not endpoints.is_loopback()


def test_what_takes_the_place_of_an_address() -> None:
    """Spot: hosts for market data where the law forbids the others, 443 where 9443 is shut. COIN-M: the other path."""
    endpoints = Endpoints()
    assert endpoints.rests(Market.SPOT) == ("https://api.binance.com/api/v3", "https://data-api.binance.vision/api/v3")
    assert endpoints.streams(Market.SPOT) == (
        "wss://stream.binance.com:9443/stream",
        "wss://stream.binance.com:443/stream",
        "wss://data-stream.binance.vision/stream",
    )
    assert endpoints.rests(Market.USDT_FUTURES) == ("https://fapi.binance.com/fapi/v1",)
    assert endpoints.streams(Market.COIN_FUTURES) == (
        "wss://dstream.binance.com/market/stream",
        "wss://dstream.binance.com/stream",
    )


def test_a_market_may_have_addresses_of_its_own_and_paths_are_kept() -> None:
    """The exchange's path follows a given one, unless it is there already."""
    markets = {Market.SPOT: ("https://relay/spot/", None), Market.COIN_FUTURES: (None, "wss://relay/coin/stream")}
    endpoints = Endpoints("https://all/x/fapi/v1", "wss://all/y", markets)
    assert endpoints.rests(Market.SPOT) == ("https://relay/spot/api/v3",)
    assert endpoints.streams(Market.SPOT) == ("wss://all/y/stream",)
    assert endpoints.rests(Market.USDT_FUTURES) == ("https://all/x/fapi/v1",)
    assert endpoints.streams(Market.USDT_FUTURES) == ("wss://all/y/market/stream",)
    assert endpoints.streams(Market.COIN_FUTURES) == ("wss://relay/coin/stream",)


def test_streams_without_names_are_refused() -> None:
    with pytest.raises(UsageError, match="/stream"):
        Endpoints(ws_url="wss://relay/ws")


def test_given_urls_replace_the_host_and_keep_the_path() -> None:
    """A slash at the end and spaces around do no harm."""
    endpoints = Endpoints(" http://127.0.0.1:8080/ ", "ws://[::1]:8081")
    assert endpoints.rest(Market.COIN_FUTURES) == "http://127.0.0.1:8080/dapi/v1"
    assert endpoints.stream(Market.SPOT) == "ws://[::1]:8081/stream"
    assert endpoints.is_loopback()
    assert not Endpoints("http://127.0.0.1:8080").is_loopback()
    mixed = Endpoints(markets={Market.SPOT: ("http://127.0.0.1:1", "ws://127.0.0.1:1")})
    assert mixed.is_loopback(Market.SPOT)
    assert not mixed.is_loopback()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.binance.com",
        "wss://api.binance.com",
        "ftp://api.binance.com",
        "https://",
        "https://:443",
        "https://host:port",
        "https://host:99999",
        "https://host:0",
        "https://ho st",
        "https://[::1",
        "https://api.binance.com?x=1",
        "https://api.binance.com/api#v3",
    ],
)
def test_an_unusable_url_is_named(url: str) -> None:
    """The message holds the value and what was expected."""
    with pytest.raises(UsageError) as caught:
        Endpoints(rest_url=url)
    assert repr(url) in str(caught.value)
    assert "https://" in str(caught.value)


def test_a_password_in_a_url_is_refused_and_not_shown() -> None:
    """Neither by the refusal nor anywhere later."""
    for url in ("https://user:secret@host", "https://user:secret@host/path", "user:secret@host"):
        with pytest.raises(UsageError) as caught:
            Endpoints(rest_url=url)
        assert "secret" not in str(caught.value)


def test_the_websocket_url_wants_its_own_scheme() -> None:
    """https is not a websocket."""
    with pytest.raises(UsageError, match="wss://"):
        Endpoints(ws_url="https://fstream.binance.com")
