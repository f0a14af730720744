"""What the Dispatcher has decided: rows for one transaction, and what is to be done once it is committed."""

from __future__ import annotations

from dataclasses import dataclass, field

from bmacdb.model import Batch, Candle, FundingRate, FundingSnapshot, Gap, Ready, Run, SymbolInfo
from bmacdb.recorder.events import Event
from bmacdb.recorder.messages import Fetch, RowsOffered

__all__ = ["Decision", "OpenRun"]


@dataclass(slots=True)
class OpenRun:
    """A run that may still change: what it expects, what it waits for, and how it came to be late."""

    run_time_ms: int
    expected: int
    waiting: set[str]
    repaired: int = 0
    last_item: str | None = None
    last_at_ms: int = 0
    missing: tuple[str, ...] = ()
    past_deadline: bool = False
    absent: set[str] = field(default_factory=set)  # of `waiting`: the exchange never made their bar
    complete_at_ms: int | None = None
    next_fetch_ms: int = 0

    @property
    def ready(self) -> int:
        return self.expected - len(self.waiting)

    def row(self) -> Run:
        return Run(
            self.run_time_ms,
            self.expected,
            self.ready,
            self.complete_at_ms,
            self.last_item,
            self.repaired,
            self.missing,
        )


@dataclass(slots=True)
class Decision:
    """What came of one or several messages of a feed: rows for one transaction, then what to do."""

    candles: list[Candle] = field(default_factory=list)
    ready: list[Ready] = field(default_factory=list)
    changed_runs: dict[int, OpenRun] = field(default_factory=dict)
    exginfo: tuple[SymbolInfo, ...] | None = None
    funding_rates: list[FundingRate] = field(default_factory=list)
    funding_snapshots: list[FundingSnapshot] = field(default_factory=list)
    gaps: dict[tuple[str, int], Gap] = field(default_factory=dict)

    events: list[Event] = field(default_factory=list)
    fetches: list[Fetch] = field(default_factory=list)
    listen: frozenset[str] | None = None
    """The symbols to listen to from now on, when they changed."""
    backfill: list[str] = field(default_factory=list)
    """Symbols newly listed, whose history is to be fetched."""
    owed: list[tuple[str, int]] = field(default_factory=list)
    """(symbol, open time) of bars with trades that REST had and the stream did not bring."""
    taken: list[tuple[Fetch, int]] = field(default_factory=list)
    """Fetches whose answers are dealt with, and how many rows each had."""
    completed: list[int] = field(default_factory=list)
    """Run times whose market became complete."""

    offers: list[RowsOffered] = field(default_factory=list)
    """Rows of other processes that are dealt with."""

    @property
    def runs(self) -> dict[int, Run]:
        """The rows of the runs that changed, as they stand now, so that they agree with the rows beside them."""
        return {run_time_ms: run.row() for run_time_ms, run in self.changed_runs.items()}

    def note(self, gap: Gap) -> None:
        """Write `gap`, in the place of what was to be written of it."""
        self.gaps[gap.symbol, gap.gap_start_ms] = gap

    def batch(self, feed: str, now_ms: int) -> Batch | None:
        """The transaction, or None when there is nothing to write."""
        if not (
            self.candles
            or self.ready
            or self.changed_runs
            or self.gaps
            or self.exginfo is not None
            or self.funding_rates
            or self.funding_snapshots
        ):
            return None
        return Batch(
            feed,
            now_ms,
            tuple(self.candles),
            tuple(self.ready),
            tuple(self.runs.values()),
            self.exginfo,
            tuple(self.funding_rates),
            tuple(self.funding_snapshots),
            tuple(self.gaps.values()),
        )
