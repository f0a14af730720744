"""What an HTTP answer means: a body to parse, or which of our errors."""

from __future__ import annotations

import re
from collections.abc import Mapping

from bmacdb.errors import Blocked, ExchangeError, Malformed, Rejected, Unreachable
from bmacdb.exchange.bodies import parse_error
from bmacdb.exchange.decoding import excerpt
from bmacdb.model import Market

__all__ = ["error_of", "is_refusal", "retry_at_ms", "used_weight"]

# The exchange's own codes for "not now": unknown error, disconnected, time-out, overloaded, too many connections.
_TRANSIENT_CODES = frozenset({-1000, -1001, -1006, -1007, -1008, -1016, -1034})
_TOO_MANY_REQUESTS = -1003
_UNTIL = re.compile(r"until\s+(\d{13})\b")


def used_weight(headers: Mapping[str, str]) -> int:
    """The weight counted in the minute of this answer, by its header; 0 where it says nothing."""
    try:
        return max(int(headers.get("X-MBX-USED-WEIGHT-1M", "0")), 0)
    except ValueError:
        return 0


def is_refusal(status: int, body: bytes) -> bool:
    """Whether an answer says that there were too many requests."""
    if status in (418, 429):
        return True
    error = None if status == 200 else parse_error(body)
    return error is not None and error[0] == _TOO_MANY_REQUESTS and status not in (403, 451)


def retry_at_ms(headers: Mapping[str, str], body: bytes, now_ms: int) -> int | None:
    """Until when the exchange wants to be left alone; None where it does not say.

    Retry-After is documented for spot alone; bans also print `banned until` with an instant.
    """
    seconds = headers.get("Retry-After", "").strip()
    if seconds.isascii() and seconds.isdigit() and len(seconds) < 10:
        return now_ms + int(seconds) * 1000
    error = parse_error(body)
    until = _UNTIL.search(error[1]) if error is not None else None
    return int(until[1]) if until is not None else None


def error_of(market: Market, what: str, status: int, body: bytes) -> ExchangeError:
    """The error that an answer of a status other than 200, and no refusal for too many requests, stands for."""
    error = parse_error(body)
    said = f"{error[1]} ({error[0]})" if error is not None else excerpt(body) if body else "nothing more"
    if status in (403, 451):
        by_law = status == 451
        remedy = _remedy(market) if by_law else _FIREWALL
        return Blocked(
            f"{what}: the exchange does not serve this address (HTTP {status}: {said}). {remedy}", by_law=by_law
        )
    if status >= 500:
        return Unreachable(f"{what}: the exchange failed (HTTP {status}: {said})")
    if status == 407:
        return Unreachable(f"{what}: the proxy wants a user name and password (HTTP 407)")
    if error is None:
        return Malformed(f"{what}: HTTP {status} with a body that is no answer of the exchange: {said}")
    if error[0] in _TRANSIENT_CODES:
        return Unreachable(f"{what}: the exchange failed for now: {said}")
    return Rejected(f"{what}: the exchange refused: {said}", code=error[0])


_FIREWALL = (
    "The exchange's firewall does so for a while after too many requests: stop whatever else asks from this address, "
    "use another one (--proxy or HTTPS_PROXY), or rehearse without it (--simulate)."
)


def _remedy(market: Market) -> str:
    hosts = (
        "the data-only hosts (--spot-rest-url https://data-api.binance.vision --spot-ws-url "
        "wss://data-stream.binance.vision), "
        if market is Market.SPOT
        else ""
    )
    return (
        f"Use {hosts}a proxy in a country that it serves (--proxy or HTTPS_PROXY), or rehearse without it (--simulate)."
    )
