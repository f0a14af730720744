"""Holes in the record: what becomes of one when the exchange has been asked. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import groupby

from bmacdb.interval import MINUTE_MS, Interval
from bmacdb.model import Gap, GapState

__all__ = ["PROOF_AGE_MS", "retry_after_ms", "settle"]

PROOF_AGE_MS = 10 * MINUTE_MS
"""How long after its close a bar must still be unknown to REST to count as absent: answers lag by seconds, in bad
hours by minutes."""

_RETRY_S = (20, 60, 120, 300, 600, 1800, 3600)


def retry_after_ms(attempts: int) -> int:
    """How long to wait before asking for a gap again that was asked for `attempts` times."""
    return _RETRY_S[min(attempts, len(_RETRY_S) - 1)] * 1000


def settle(
    gap: Gap,
    interval: Interval,
    *,
    present: Collection[int],
    asked: tuple[int, int],
    evidence_ms: int | None,
    answered_ms: int,
) -> tuple[Gap, ...]:
    """The rows that a gap becomes after the exchange was asked for the bars that open in `asked` = [start, end).

    `present` are the open times that are in the record now. A bar that was asked for and is not among them is absent
    when the exchange has a later one (`evidence_ms`: the latest open time known of the symbol) and had time to make
    it (`PROOF_AGE_MS`); otherwise it stays open. The first row has the key of `gap`, so that it replaces it.
    """

    def state_of(open_ms: int) -> GapState:
        if open_ms in present:
            return GapState.FILLED
        proven = (
            asked[0] <= open_ms < asked[1]
            and evidence_ms is not None
            and evidence_ms > open_ms
            and answered_ms - interval.next(open_ms) >= PROOF_AGE_MS
        )
        return GapState.ABSENT if proven else GapState.OPEN

    def rows() -> Iterator[Gap]:
        for state, bars in groupby(interval.opens(gap.gap_start_ms, gap.gap_end_ms), key=state_of):
            opens = list(bars)
            yield replace(
                gap,
                gap_start_ms=opens[0],
                gap_end_ms=interval.next(opens[-1]),
                state=state,
                reason="the exchange has no such bar" if state is GapState.ABSENT else gap.reason,
                closed_at_ms=None if state is GapState.OPEN else answered_ms,
            )

    return tuple(rows())
