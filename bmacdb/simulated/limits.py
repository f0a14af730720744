"""The exchange's limits: weight in minutes of its own clock, requests in five minutes, messages in a second."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from bmacdb.interval import MINUTE_MS
from bmacdb.model import Market

__all__ = ["LIMITS", "MessageBucket", "RequestLimit", "Verdict", "WeightLimit", "klines_weight", "weight_of"]

LIMITS = {Market.SPOT: 6000, Market.USDT_FUTURES: 2400, Market.COIN_FUTURES: 2400}
"""Weight a minute; the two futures markets share theirs."""

_PATIENCE = 20  # refusals in one minute after which an address is banned
_BAN_MS = 2 * MINUTE_MS
_FLAT = {
    Market.SPOT: {"exchangeInfo": 20},
    Market.USDT_FUTURES: {"fundingInfo": 0, "fundingRate": 0, "tradingSchedule": 5},
    Market.COIN_FUTURES: {"fundingInfo": 0, "fundingRate": 0, "premiumIndex": 10},
}
# What a request for one symbol costs, and for all of them.
_SPOT_BY_SYMBOLS = {"ticker/24hr": (2, 80), "ticker/price": (2, 4), "ticker/bookTicker": (2, 4)}
_BY_SYMBOLS = {"premiumIndex": (1, 10), "ticker/24hr": (1, 40), "ticker/price": (1, 2), "ticker/bookTicker": (2, 5)}


def klines_weight(market: Market, limit: int) -> int:
    """What a page of `limit` rows costs."""
    if market is Market.SPOT:
        return 2
    return next(weight for most, weight in ((100, 1), (500, 2), (1000, 5), (limit, 10)) if limit <= most)


def weight_of(market: Market, endpoint: str, *, limit: int, symbols: int | None) -> int:
    """What a request about so many symbols (None: all) costs, whether or not it is then found valid."""
    if endpoint.lower().endswith("klines"):
        return klines_weight(market, limit)
    spot = market is Market.SPOT
    if spot and endpoint == "ticker/24hr" and symbols is not None:
        return 2 if symbols <= 20 else 40 if symbols <= 100 else 80
    by_symbols = (_SPOT_BY_SYMBOLS if spot else _BY_SYMBOLS).get(endpoint)
    if by_symbols is not None and endpoint not in _FLAT[market]:
        return by_symbols[0] if symbols == 1 else by_symbols[1]
    return _FLAT[market].get(endpoint, 1)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request is served (200) or refused (429, 418), and from when others will be."""

    status: int
    used: int
    until_ms: int = 0


@dataclass(slots=True)
class WeightLimit:
    """The weight that one address has used in the present minute of the exchange's clock."""

    limit: int
    used: int = 0
    most: int = 0
    by_minute: dict[int, int] = field(default_factory=dict)  # minute -> weight used; the last hundred
    banned_until_ms: int = 0
    _minute: int = -1
    _refused: int = 0

    def charge(self, weight: int, now_ms: int) -> Verdict:
        """Take a request of `weight` into account."""
        minute = now_ms // MINUTE_MS
        if minute != self._minute:
            self._minute, self.used, self._refused = minute, 0, 0
        self.used += weight
        self.most = max(self.most, self.used)
        self.by_minute[minute] = self.used
        if len(self.by_minute) > 100:
            del self.by_minute[next(iter(self.by_minute))]
        if now_ms < self.banned_until_ms:
            return Verdict(418, self.used, self.banned_until_ms)
        if self.used <= self.limit:
            return Verdict(200, self.used)
        self._refused += 1
        if self._refused > _PATIENCE:
            self.banned_until_ms = now_ms + _BAN_MS
            return Verdict(418, self.used, self.banned_until_ms)
        return Verdict(429, self.used, (minute + 1) * MINUTE_MS)


@dataclass(slots=True)
class RequestLimit:
    """So many requests in so long a time, whatever their weight."""

    limit: int
    window_ms: int
    most: int = 0
    _sent: deque[int] = field(default_factory=deque)

    def charge(self, now_ms: int) -> Verdict:
        """Take a request into account."""
        sent = self._sent
        while sent and sent[0] <= now_ms - self.window_ms:
            sent.popleft()
        if len(sent) >= self.limit:
            return Verdict(429, len(sent), sent[0] + self.window_ms)
        sent.append(now_ms)
        self.most = max(self.most, len(sent))
        return Verdict(200, len(sent))


@dataclass(slots=True)
class MessageBucket:
    """Messages a client may send on a connection: `rate` a second, `burst` at once. Seconds of the machine."""

    rate: float
    burst: float
    most: int = 0
    _level: float = 0.0
    _seen: float = 0.0
    _last_second: deque[float] = field(default_factory=deque)

    def admit(self, now: float) -> bool:
        """Whether one more message is within the limit."""
        self._level = max(self._level - (now - self._seen) * self.rate, 0.0) + 1
        self._seen = now
        while self._last_second and self._last_second[0] <= now - 1:
            self._last_second.popleft()
        self._last_second.append(now)
        self.most = max(self.most, len(self._last_second))
        return self._level <= self.burst
