"""What the stand-in exchange counts of itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields

__all__ = ["Stats"]


@dataclass(slots=True)
class Stats:
    """Counters since the start."""

    requests: int = 0
    by_status: Counter[int] = field(default_factory=Counter)
    closing_frames: int = 0
    update_frames: int = 0
    tick_frames: int = 0  # mark prices and quotes
    connections: int = 0  # open now
    connections_made: int = 0
    connections_refused: int = 0
    closed_by_exchange: Counter[str] = field(default_factory=Counter)
    messages_received: int = 0
    most_messages_a_second: int = 0
    faults: Counter[str] = field(default_factory=Counter)  # kind -> how often it struck

    def answered(self, status: int) -> None:
        """Count a request and what was answered."""
        self.requests += 1
        self.by_status[status] += 1

    def as_dict(self) -> dict[str, object]:
        """Every counter by name, as JSON takes it."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in values.items()}
