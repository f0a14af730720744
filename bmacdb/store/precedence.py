"""Which of two versions of a bar stands. Pure.

- The same values: nothing changes, and the row keeps the source it came from first. Only a bar that was invented
  (`fill`) or taken too soon (`provisional`) takes the source that confirms it.
- Different values: the source of higher rank stands (fill < provisional < ws < rest < archive). Of two from the same
  source the later stands, for it is the exchange's newer word. Both versions go into `corrections`.

Values are compared exactly: both sides are parsed from the exchange's own digits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from bmacdb.model import Candle, Source

__all__ = ["Correction", "judge", "layers", "same_values"]

_RANK = {source: rank for rank, source in enumerate(Source)}
_UNCONFIRMED = frozenset({Source.FILL, Source.PROVISIONAL})


@dataclass(frozen=True, slots=True)
class Correction:
    """Two versions of one bar. `stands` is 'recorded' or 'later'."""

    recorded: Candle
    later: Candle
    stands: str


def same_values(one: Candle, other: Candle) -> bool:
    """Whether two versions of a bar agree in everything but their source."""
    return msgspec.structs.replace(one, source=other.source) == other


def judge(recorded: Candle, later: Candle) -> tuple[Candle, Correction | None]:
    """The version that stands, and the correction to be noted where the two disagree."""
    if same_values(recorded, later):
        confirms = recorded.source in _UNCONFIRMED and _RANK[later.source] > _RANK[recorded.source]
        return (later if confirms else recorded), None
    if _RANK[later.source] >= _RANK[recorded.source]:
        return later, Correction(recorded, later, "later")
    return recorded, Correction(recorded, later, "recorded")


def layers(candles: Iterable[Candle]) -> list[list[Candle]]:
    """The candles apart into lists in which no bar is there twice: the first version of each, then the second, …"""
    seen: Counter[tuple[str, int]] = Counter()
    found: list[list[Candle]] = []
    for candle in candles:
        key = (candle.symbol, candle.open_time_ms)
        number = seen[key]
        seen[key] += 1
        if number == len(found):
            found.append([])
        found[number].append(candle)
    return found
