"""Bars of a longer interval at every offset: which there are, and which end at a run time. Pure.

An hour of five-minute bars can begin at 0, 5, … 55 minutes past: at every run time of the shorter interval the bars of
one offset end. An offset is in minutes from the longer interval's own grid.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from bmacdb.errors import UsageError
from bmacdb.interval import MINUTE_MS, Interval
from bmacdb.model import Feed
from bmacdb.symbols import parse_feed

__all__ = ["Resampling", "offsets_between", "parse_resampling"]


def offsets_between(base: Interval, to: Interval) -> tuple[int, ...]:
    """Every offset in minutes at which bars of `to` can be made of bars of `base`, from 0 on.

    Whole minutes: of bars of seconds, those that begin with a minute. Raises UsageError where one interval does not
    divide the other.
    """
    if "1M" in (base.name, to.name):
        raise UsageError(
            f"{base.name} -> {to.name}: months differ in length, so that they have no offsets. Use 1d or 1w."
        )
    if to.length_ms <= base.length_ms:
        raise UsageError(f"{base.name} -> {to.name}: {to.name} is not longer than {base.name}.")
    if to.length_ms % base.length_ms:
        raise UsageError(f"{base.name} -> {to.name}: {base.name} does not divide {to.name}.")
    step_ms = max(base.length_ms, MINUTE_MS)
    return tuple(range(0, to.length_ms // MINUTE_MS, step_ms // MINUTE_MS))


@dataclass(frozen=True, slots=True)
class Resampling:
    """The bars of `to` that are made of `feed`'s, at `offsets` (minutes, ascending)."""

    feed: Feed
    to: Interval
    offsets: tuple[int, ...]

    @classmethod
    def of(cls, feed: Feed, to: str, offsets: Collection[int] | None = None) -> Resampling:
        """Bars of the interval called `to` made of `feed`'s, at all offsets or the given ones. Raises UsageError."""
        interval = Interval.parse(to)
        known = offsets_between(feed.interval, interval)
        if offsets is None:
            return cls(feed, interval, known)
        if wrong := sorted(set(offsets) - set(known)):
            every = known[1] if len(known) > 1 else known[0]
            raise UsageError(
                f"offset {wrong[0]} is none of {feed.interval.name} -> {interval.name}: they are multiples of {every} "
                f"from 0 to {known[-1]} (minutes)."
            )
        if not offsets:
            raise UsageError("no offset is given: leave the list out for all of them.")
        return cls(feed, interval, tuple(sorted(set(offsets))))

    @property
    def name(self) -> str:
        """`usdt_perp_5m_to_1h`: the schema in which the bars are stored, and the feed that readers wait for."""
        return f"{self.feed.name}_to_{self.to.name}"

    @property
    def parts(self) -> int:
        """Of how many bars each is made."""
        return self.to.length_ms // self.feed.interval.length_ms

    def offset_of(self, open_ms: int) -> int | None:
        """The offset of a bar that opens at `open_ms`; None where none of the offsets has such a bar."""
        minutes, rest = divmod((open_ms - self.to.anchor_ms) % self.to.length_ms, MINUTE_MS)
        return minutes if not rest and minutes in self.offsets else None

    def ending_at(self, run_time_ms: int) -> int | None:
        """When the bars opened that end at a run time of the feed; None where none end."""
        open_ms = run_time_ms - self.to.length_ms
        return None if self.offset_of(open_ms) is None else open_ms

    def touched(self, start_ms: int, end_ms: int) -> tuple[int, int]:
        """Where the bars open that have a part opening in [start, end): a range of open times, the end exclusive."""
        return start_ms - self.to.length_ms + self.feed.interval.length_ms, end_ms

    def needed(self, start_ms: int, end_ms: int) -> tuple[int, int]:
        """Where the parts open of the bars that open in [start, end): a range of open times, the end exclusive."""
        return start_ms, end_ms + self.to.length_ms - self.feed.interval.length_ms

    def spans(self, start_ms: int, end_ms: int, bars: int) -> Iterator[tuple[int, int]]:
        """The range [start, end) of open times in pieces of at most `bars` (at least 1), the newest first."""
        step_ms = max(bars, 1) * self.feed.interval.length_ms
        while start_ms < end_ms:
            begin_ms = max(start_ms, end_ms - step_ms)
            yield begin_ms, end_ms
            end_ms = begin_ms


def parse_resampling(text: str, feeds: Collection[Feed]) -> tuple[Resampling, ...]:
    """What `usdt_perp_5m -> 1h` means, or `1h` alone: of every one of `feeds` that divides it.

    Raises UsageError for a feed that is not one of `feeds`, and where there is none that divides.
    """
    name, arrow, to = (part.strip() for part in text.partition("->"))
    if arrow:
        feed = parse_feed(name)
        chosen = next((known for known in feeds if known.name == feed.name), None)
        if chosen is None:
            raise UsageError(f"{text!r}: {name} is not recorded; {', '.join(known.name for known in feeds)} is.")
        return (Resampling.of(chosen, to),)
    Interval.parse(name)
    found = []
    problems = []
    for feed in feeds:
        try:
            found.append(Resampling.of(feed, name))
        except UsageError as error:
            problems.append(str(error))
    if not found:
        raise UsageError(problems[0] if problems else f"{text!r}: no feed is recorded.")
    return tuple(found)
