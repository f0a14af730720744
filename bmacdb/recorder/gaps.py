"""Holes in the record: which there are, when to ask for them again, and what becomes of them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from bmacdb.interval import MINUTE_MS, Interval
from bmacdb.model import Gap, GapState

__all__ = ["PROOF_AGE_MS", "GapBook", "settle"]

PROOF_AGE_MS = 10 * MINUTE_MS
"""How long after its close a bar must still be unknown to REST to count as absent: answers lag by seconds, in bad
hours by minutes."""

_RETRY_S = (20, 60, 120, 300, 600, 1800, 3600)
_REFUSED_S = 7 * 86_400


def _retry_after_ms(attempts: int) -> int:
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


@dataclass(slots=True)
class _Open:
    gap: Gap
    due_ms: int
    attempts: int = 0
    refused_ms: int | None = None  # since when the exchange refuses to talk about it


class GapBook:
    """The open gaps of one feed. Every method that changes one returns the rows to be written.

    REST is asked for no bar that closed less than `settle_ms` ago, for its answer would not be final.
    """

    def __init__(self, interval: Interval, *, page_rows: int, settle_ms: int) -> None:
        self._interval, self._page_rows, self._settle_ms = interval, page_rows, settle_ms
        self._open: dict[str, list[_Open]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._open.values()))

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._open

    def resume(self, gaps: Iterable[Gap], now_ms: int) -> None:
        """Take up the open gaps that are in the file."""
        for gap in gaps:
            self._open.setdefault(gap.symbol, []).append(_Open(gap, now_ms))

    def holds(self, symbol: str, open_ms: int) -> bool:
        """Whether the bar is part of an open gap."""
        return any(known.gap.gap_start_ms <= open_ms < known.gap.gap_end_ms for known in self._open.get(symbol, ()))

    def add(
        self, symbol: str, start_ms: int, end_ms: int, reason: str, now_ms: int, *, due_ms: int | None = None
    ) -> Gap:
        """Open a gap, or lengthen the one that ends where this one starts; a new one is asked for at `due_ms`."""
        known_gaps = self._open.setdefault(symbol, [])
        for known in known_gaps:
            if known.gap.gap_start_ms <= start_ms <= known.gap.gap_end_ms:
                known.gap = replace(known.gap, gap_end_ms=max(end_ms, known.gap.gap_end_ms))
                return known.gap
        gap = Gap(symbol, start_ms, end_ms, GapState.OPEN, reason, now_ms)
        known_gaps.append(_Open(gap, now_ms + _retry_after_ms(0) if due_ms is None else due_ms))
        return gap

    def settle(
        self,
        symbol: str,
        *,
        present: Collection[int],
        asked: tuple[int, int],
        evidence_ms: int | None,
        answered_ms: int,
    ) -> list[Gap]:
        """Bring the gaps of `symbol` up to date with bars that came and what was proved absent (see `settle` above)."""
        changed: list[Gap] = []
        still_open: list[_Open] = []
        for known in self._open.pop(symbol, ()):
            for row in settle(
                known.gap,
                self._interval,
                present=present,
                asked=asked,
                evidence_ms=evidence_ms,
                answered_ms=answered_ms,
            ):
                if row != known.gap:
                    changed.append(row)
                if row.state is GapState.OPEN:
                    # What is left of a gap that shrank is asked for at once: it may be many pages long.
                    unchanged = row == known.gap
                    still_open.append(known if unchanged else _Open(row, answered_ms))
        if still_open:
            self._open[symbol] = still_open
        return changed

    def due(self, now_ms: int) -> Iterator[tuple[str, int, int]]:
        """(symbol, start, end) of what is to be asked for now: a page at most, with the bars behind the gap, because
        a later bar proves an earlier one absent."""
        settled_ms = self._interval.floor(now_ms - self._settle_ms)
        for symbol, known_gaps in self._open.items():
            for known in known_gaps:
                if known.due_ms > now_ms:
                    continue
                start_ms = known.gap.gap_start_ms
                end_ms = min(
                    self._interval.shift(known.gap.gap_end_ms, 2),
                    self._interval.shift(start_ms, self._page_rows),
                    settled_ms,
                )
                if end_ms > start_ms:
                    known.attempts += 1
                    known.due_ms = now_ms + _retry_after_ms(known.attempts)
                    yield symbol, start_ms, end_ms

    def postpone(self, symbol: str, now_ms: int) -> None:
        """The exchange refuses to talk about `symbol`: ask ever more rarely, from once in an hour to once in a week."""
        for known in self._open.get(symbol, ()):
            known.refused_ms = now_ms if known.refused_ms is None else known.refused_ms
            # As long again as it has been refused so far: that doubles each time, however many pages were refused.
            pause_ms = min(max(now_ms - known.refused_ms, _RETRY_S[-1] * 1000), _REFUSED_S * 1000)
            known.due_ms = max(known.due_ms, now_ms + pause_ms)
