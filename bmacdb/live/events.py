"""What happens in a live market, or happened in a replayed one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

__all__ = ["CandleEvent", "CompleteEvent", "DelistingEvent", "Event", "FundingEvent", "ListingEvent"]


@dataclass(frozen=True, slots=True)
class Event:
    """`run_time`: the boundary (UTC) of the bar it belongs to."""

    run_time: datetime


@dataclass(frozen=True, slots=True)
class CandleEvent(Event):
    """Candles of `symbols` are new or corrected: those of the bar that closed at `run_time`, and where `since` is
    earlier, some from that run time on."""

    symbols: tuple[str, ...]
    since: datetime


@dataclass(frozen=True, slots=True)
class CompleteEvent(Event):
    """The market of `run_time` is `complete`, or its deadline has passed without the symbols in `late`."""

    complete: bool
    late: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FundingEvent(Event):
    """Fundings of `symbols` were settled."""

    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListingEvent(Event):
    """`symbols` trade, and did not before."""

    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DelistingEvent(Event):
    """`symbols` do not trade any more; their candles stay in the panel until they are older than its window."""

    symbols: tuple[str, ...]
