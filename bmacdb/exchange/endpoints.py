"""Where the exchange lives: the base URL of each market's REST interface and websocket streams."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from bmacdb.errors import UsageError
from bmacdb.model import Market

__all__ = ["Endpoints"]

_REST_HOST = {
    Market.SPOT: "https://api.binance.com",
    Market.USDT_FUTURES: "https://fapi.binance.com",
    Market.COIN_FUTURES: "https://dapi.binance.com",
}
_REST_PATH = {Market.SPOT: "/api/v3", Market.USDT_FUTURES: "/fapi/v1", Market.COIN_FUTURES: "/dapi/v1"}
_STREAM_HOST = {
    Market.SPOT: "wss://stream.binance.com:9443",
    Market.USDT_FUTURES: "wss://fstream.binance.com",
    Market.COIN_FUTURES: "wss://dstream.binance.com",
}
# Routed paths are a must on USD-M since 2026-04-23 (an unrouted socket acknowledges and stays silent), and of COIN-M
# the reports disagree: the routed path is the one that was never seen silent.
_STREAM_PATH = {
    Market.SPOT: "/stream",
    Market.USDT_FUTURES: "/market/stream",
    Market.COIN_FUTURES: "/market/stream",
}


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The exchange's URLs; `rest_url` and `ws_url` replace scheme, host and port of them, the paths stay.

    Raises UsageError for a URL that is not of the form scheme://host[:port].
    """

    rest_url: str | None = None
    ws_url: str | None = None

    def __post_init__(self) -> None:
        if self.rest_url is not None:
            object.__setattr__(self, "rest_url", _checked("REST URL", self.rest_url, ("https", "http")))
        if self.ws_url is not None:
            object.__setattr__(self, "ws_url", _checked("websocket URL", self.ws_url, ("wss", "ws")))

    def rest(self, market: Market) -> str:
        """The base of a market's REST requests: `https://fapi.binance.com/fapi/v1`."""
        return (self.rest_url or _REST_HOST[market]) + _REST_PATH[market]

    def stream(self, market: Market) -> str:
        """The URL of a market's combined streams: `wss://fstream.binance.com/market/stream`."""
        return (self.ws_url or _STREAM_HOST[market]) + _STREAM_PATH[market]

    @property
    def loopback(self) -> bool:
        """Whether all requests stay on this machine: then no proxy of the environment may take them."""
        return all(url is not None and _is_loopback(urlsplit(url).hostname) for url in (self.rest_url, self.ws_url))


def _is_loopback(host: str | None) -> bool:
    if host is None or host == "localhost":
        return host is not None
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _checked(what: str, url: str, schemes: tuple[str, str]) -> str:
    """`url` as scheme://host[:port]. Messages never show user or password, which a URL might hold."""
    text = url.strip()
    example = f"expected {schemes[0]}://host or {schemes[1]}://host:port"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{what} {_shown(text)!r} is no URL ({error}); {example}.") from error
    if parts.scheme.lower() not in schemes:
        raise UsageError(f"{what} {_shown(text)!r} does not begin with {schemes[0]}:// or {schemes[1]}://; {example}.")
    if not host or any(character.isspace() for character in text) or port == 0:
        raise UsageError(f"{what} {_shown(text)!r} names no host and port to connect to; {example}.")
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            f"{what} {_shown(text)!r} holds a user name; the exchange's market data needs none: leave it out."
        )
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise UsageError(
            f"{what} {_shown(text)!r} has a path ({_tail(parts)!r}); only scheme, host and port are replaced and paths "
            f"stay the exchange's own: give {parts.scheme}://{parts.netloc}."
        )
    return f"{parts.scheme.lower()}://{parts.netloc}"


def _tail(parts: SplitResult) -> str:
    return parts._replace(scheme="", netloc="").geturl()


def _shown(text: str) -> str:
    head, at, tail = text.rpartition("@")
    scheme, mark, _ = head.partition("://")
    return f"{scheme if mark else ''}{mark}***@{tail}" if at else text
