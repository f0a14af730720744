"""What frames and bodies have in common: decoding to types, and what a bar must look like to be believed."""

from __future__ import annotations

from typing import Protocol, TypeVar

import msgspec

from bmacdb.errors import Malformed

__all__ = ["LATEST_MS", "check_bar", "decode", "excerpt"]

LATEST_MS = 10**14
"""No instant in milliseconds is later (the year 5138): a larger number is in microseconds, or nonsense."""

_EXCERPT = 120
T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class _Decoder(Protocol[T_co]):
    def decode(self, buf: bytes, /) -> T_co: ...


def excerpt(data: bytes) -> str:
    """The beginning of what was received, safe to print on one line."""
    text = repr(data[:_EXCERPT].decode(errors="replace"))
    return text if len(data) <= _EXCERPT else f"{text}… ({len(data)} bytes)"


def decode(decoder: _Decoder[T], data: bytes, what: str) -> T:
    """`data` as the type of `decoder`. Raises Malformed, and nothing else whatever the bytes."""
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Malformed(f"{what} does not parse ({error}): {excerpt(data)}") from error


def check_bar(
    *,
    opened_ms: int,
    open: float,
    high: float,
    low: float,
    close: float,
    volumes: tuple[float, float, float, float],
    trades: int,
) -> str | None:
    """What is wrong with a bar, or None.

    Refused is what no market can print: NaN, infinities, negative amounts, a high below the low, an open or close
    outside of both, an instant between two seconds. A bar without trades is fine, and so is a jump: prices are what
    they are. Taker volumes may pass the total by a rounding, so they are not compared.
    """
    infinity = float("inf")
    # Comparisons with NaN are false, so each test is written to be true of a good value.
    if not (0.0 <= low <= open <= high < infinity and low <= close <= high):
        return f"open {open}, high {high}, low {low} and close {close} are not the prices of one bar"
    for volume in volumes:
        if not 0.0 <= volume < infinity:
            return f"{volume} is no volume"
    if not 0 <= trades < 2**63:
        return f"{trades} is no number of trades"
    if not 0 <= opened_ms < LATEST_MS or opened_ms % 1000:
        return f"{opened_ms} is no open time in milliseconds"
    return None
