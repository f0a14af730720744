"""Where the exchange lives: the URLs of each market's REST interface and websocket streams, the first choice first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from bmacdb.errors import UsageError
from bmacdb.model import Market
from bmacdb.settings import Settings

__all__ = ["REST_PATHS", "Endpoints"]

REST_PATHS = {Market.SPOT: "/api/v3", Market.USDT_FUTURES: "/fapi/v1", Market.COIN_FUTURES: "/dapi/v1"}
# Spot has hosts of its own for market data, which also serve countries where the exchange itself answers with 451.
_REST_HOSTS = {
    Market.SPOT: ("https://api.binance.com", "https://data-api.binance.vision"),
    Market.USDT_FUTURES: ("https://fapi.binance.com",),
    Market.COIN_FUTURES: ("https://dapi.binance.com",),
}
# Many proxies and firewalls let nothing but 443 through.
_STREAM_HOSTS = {
    Market.SPOT: (
        "wss://stream.binance.com:9443",
        "wss://stream.binance.com:443",
        "wss://data-stream.binance.vision",
    ),
    Market.USDT_FUTURES: ("wss://fstream.binance.com",),
    Market.COIN_FUTURES: ("wss://dstream.binance.com",),
}
# Routed paths are a must on USD-M since 2026-04-23 (an unrouted socket acknowledges and stays silent). Of COIN-M the
# reports disagree (ccxt#28091 against Tucsky/aggr#444): the routed path is the one that was never seen silent.
_STREAM_PATHS = {
    Market.SPOT: ("/stream",),
    Market.USDT_FUTURES: ("/market/stream",),
    Market.COIN_FUTURES: ("/market/stream", "/stream"),
}


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The exchange's URLs. `rest_url` and `ws_url` take the place of scheme, host and port of all of them; the pairs
    (REST, websocket) in `markets` go before, for single markets.

    A URL may have a path: the exchange's own follows it, unless it ends with that already.
    Raises UsageError for a URL that is not of the form scheme://host[:port][/path].
    """

    rest_url: str | None = None
    ws_url: str | None = None
    markets: Mapping[Market, tuple[str | None, str | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checked = {market: (_rest(rest), _websocket(ws)) for market, (rest, ws) in self.markets.items()}
        object.__setattr__(self, "rest_url", _rest(self.rest_url))
        object.__setattr__(self, "ws_url", _websocket(self.ws_url))
        object.__setattr__(self, "markets", checked)

    @classmethod
    def of(cls, settings: Settings) -> Endpoints:
        """The endpoints that `settings` name."""
        return cls(settings.rest_url, settings.ws_url, {market: settings.addresses(market) for market in Market})

    def _given(self, market: Market) -> tuple[str | None, str | None]:
        rest, ws = self.markets.get(market, (None, None))
        return rest or self.rest_url, ws or self.ws_url

    def rests(self, market: Market) -> tuple[str, ...]:
        """The bases of a market's REST requests, as `https://fapi.binance.com/fapi/v1`: those behind the first take its
        place where it is blocked."""
        given, _ = self._given(market)
        hosts = _REST_HOSTS[market] if given is None else (given,)
        return tuple(_with_path(host, REST_PATHS[market]) for host in hosts)

    def streams(self, market: Market) -> tuple[str, ...]:
        """The URLs of a market's combined streams, as `wss://fstream.binance.com/market/stream`, likewise."""
        _, given = self._given(market)
        if given is None:
            return tuple(host + path for host in _STREAM_HOSTS[market] for path in _STREAM_PATHS[market])
        whole = given.endswith("/stream")
        return tuple(given if whole else given + path for path in _STREAM_PATHS[market][: 1 if whole else None])

    def rest(self, market: Market) -> str:
        """The first choice of `rests`."""
        return self.rests(market)[0]

    def stream(self, market: Market) -> str:
        """The first choice of `streams`."""
        return self.streams(market)[0]

    def is_loopback(self, *markets: Market) -> bool:
        """Whether all requests to these markets (none: to any) stay on this machine: then no proxy may take them."""
        urls = [url for market in markets or Market for url in (self.rest(market), self.stream(market))]
        return all(_is_loopback(urlsplit(url).hostname) for url in urls)


def _with_path(base: str, path: str) -> str:
    return base if base.endswith(path) else base + path


def _is_loopback(host: str | None) -> bool:
    if host is None or host == "localhost":
        return host is not None
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _rest(url: str | None) -> str | None:
    return None if url is None else _checked("REST URL", url, ("https", "http"))


def _websocket(url: str | None) -> str | None:
    checked = None if url is None else _checked("websocket URL", url, ("wss", "ws"))
    if checked is not None and checked.endswith("/ws"):
        raise UsageError(
            f"websocket URL {checked!r} ends with /ws, where events come without the names of their streams: give the "
            "path that ends with /stream, or leave the path out."
        )
    return checked


def _checked(what: str, url: str, schemes: tuple[str, str]) -> str:
    """`url` without a slash at its end. Messages never show user or password, which a URL might hold."""
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
    if parts.query or parts.fragment:
        raise UsageError(f"{what} {_shown(text)!r} has a query; scheme, host, port and path alone can be used.")
    return f"{parts.scheme.lower()}://{parts.netloc}{parts.path.rstrip('/')}"


def _shown(text: str) -> str:
    head, at, tail = text.rpartition("@")
    scheme, mark, _ = head.partition("://")
    return f"{scheme if mark else ''}{mark}***@{tail}" if at else text
