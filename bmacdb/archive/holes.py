"""Arithmetic of holes: ranges of open times, less those that are there. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from bmacdb.interval import Interval
from bmacdb.model import Gap, GapState, Segment

__all__ = ["clipped", "joined", "minus", "settled"]


def joined(segments: Iterable[Segment]) -> list[Segment]:
    """The same open times as ranges that neither touch nor overlap, in order."""
    found: list[Segment] = []
    for segment in sorted(segments, key=lambda one: one.start_ms):
        if segment.end_ms <= segment.start_ms:
            continue
        if found and segment.start_ms <= found[-1].end_ms:
            found[-1] = Segment(found[-1].start_ms, max(found[-1].end_ms, segment.end_ms))
        else:
            found.append(segment)
    return found


def minus(wanted: Iterable[Segment], there: Iterable[Segment]) -> list[Segment]:
    """What of `wanted` is not `there`, in order."""
    known = joined(there)
    found: list[Segment] = []
    for segment in joined(wanted):
        start_ms = segment.start_ms
        for one in known:
            if one.end_ms <= start_ms:
                continue
            if one.start_ms >= segment.end_ms:
                break
            if one.start_ms > start_ms:
                found.append(Segment(start_ms, one.start_ms))
            start_ms = one.end_ms
        if start_ms < segment.end_ms:
            found.append(Segment(start_ms, segment.end_ms))
    return found


def clipped(segments: Iterable[Segment], start_ms: int, end_ms: int) -> list[Segment]:
    """The parts of `segments` within [start, end), in order."""
    parts = (Segment(max(one.start_ms, start_ms), min(one.end_ms, end_ms)) for one in segments)
    return joined(part for part in parts if part.start_ms < part.end_ms)


def settled(
    gap: Gap, interval: Interval, bars: Iterable[Segment], *, now_ms: int, absent: Iterable[Segment] = (), why: str = ""
) -> list[Gap]:
    """The rows that a gap becomes: filled where there are `bars`, absent where that was proved (`why`), else as it was.

    The first row has the key of `gap`, so that it replaces it.
    """
    start_ms, end_ms = gap.gap_start_ms, gap.gap_end_ms
    there = clipped(bars, start_ms, end_ms)
    proved = minus(clipped(absent, start_ms, end_ms), there)

    def rows() -> Iterator[Gap]:
        for part in there:
            yield replace(
                gap, gap_start_ms=part.start_ms, gap_end_ms=part.end_ms, state=GapState.FILLED, closed_at_ms=now_ms
            )
        for part in proved:
            if gap.state is not GapState.ABSENT:
                yield replace(
                    gap,
                    gap_start_ms=part.start_ms,
                    gap_end_ms=part.end_ms,
                    state=GapState.ABSENT,
                    reason=why,
                    closed_at_ms=now_ms,
                )
        left = [Segment(start_ms, end_ms)]
        for part in minus(left, there if gap.state is GapState.ABSENT else (*there, *proved)):
            yield replace(gap, gap_start_ms=part.start_ms, gap_end_ms=part.end_ms)

    return sorted(rows(), key=lambda row: row.gap_start_ms)
