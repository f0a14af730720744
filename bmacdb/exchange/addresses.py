"""The addresses of one market in use, and what takes their place where they do not serve.

Everything of a process that talks to the market shares one `Addresses`: what one has found out, the others know.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import SplitResult, urlsplit

from bmacdb.exchange.endpoints import Endpoints
from bmacdb.model import Market

__all__ = ["Addresses"]

_PATIENCE = 3  # failures to connect, of all listeners together, before another port is tried


class Addresses:
    """`rest` and `stream` are what is to be asked now; each change is told once."""

    def __init__(self, market: Market, endpoints: Endpoints, *, told: Callable[[str], None] = lambda _: None) -> None:
        self.market = market
        self._rests, self._streams, self._told = endpoints.rests(market), endpoints.streams(market), told
        self.rest, self.stream = self._rests[0], self._streams[0]
        self._proven: set[str] = set()
        self._failures = 0
        self._said: set[str] = set()

    def __repr__(self) -> str:
        return f"<Addresses {self.market} {self.rest} {self.stream}>"

    @property
    def delivers(self) -> bool:
        """Whether the present stream address has ever sent a candle to this process."""
        return self.stream in self._proven

    def begin_with(self, stream: str) -> None:
        """Listen at `stream` first, which has delivered before, if it is a path or port of the host in use."""
        if stream in self._streams and urlsplit(stream).hostname == urlsplit(self.stream).hostname:
            self.stream = stream

    def delivered(self, url: str) -> None:
        """A stream at `url` has spoken."""
        self._proven.add(url)
        self._failures = 0

    def blocked(self, url: str) -> bool:
        """The exchange does not serve `url` to this country (451): whether another address takes its place."""
        host = urlsplit(url).hostname
        if url in self._rests:
            found = self._behind(self._rests, url)
            if found is None:
                return False
            self.rest = found
            self._say(f"{host} does not serve this address (HTTP 451): {urlsplit(found).hostname} is asked instead")
            self.blocked(self.stream)  # it lives under the same law, and would say so a moment later
            return True
        found = self._behind(self._streams, url)
        if found is not None:
            self.stream = found
            self._say(f"streams come from {urlsplit(found).hostname} instead of {host}")
        return found is not None

    def unreachable(self, url: str, *, at_once: bool = False) -> None:
        """A connection to `url` failed: after some such, or `at_once`, another port of the same host is tried."""
        self._failures += url == self.stream
        if self._failures < _PATIENCE and not at_once:
            return
        self._failures = 0
        here = urlsplit(url)
        self._turn(url, lambda other: other.hostname == here.hostname and other.port != here.port, "cannot be reached")

    def silent(self, url: str) -> None:
        """`url` has acknowledged its streams, and has sent nothing when it should have: another path is tried, unless
        `url` has delivered before (then it is a matter of its connections)."""
        if url not in self._proven:
            here = urlsplit(url)
            self._turn(
                url,
                lambda other: other.netloc == here.netloc and other.path != here.path,
                "acknowledges streams and sends nothing",
            )

    def _turn(self, url: str, fits: Callable[[SplitResult], bool], why: str) -> None:
        """Go on from `url`, unless that was done before, to the next address that fits."""
        if url != self.stream:
            return
        place = self._streams.index(url)
        around = self._streams[place + 1 :] + self._streams[:place]
        found = next((other for other in around if fits(urlsplit(other))), None)
        if found is not None:
            self.stream = found
            self._say(f"{url} {why}: {found} is tried")

    def _behind(self, urls: tuple[str, ...], url: str) -> str | None:
        """The first of another host behind `url`."""
        host = urlsplit(url).hostname
        return next((other for other in urls[urls.index(url) + 1 :] if urlsplit(other).hostname != host), None)

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._told(f"{self.market}: {text}.")
