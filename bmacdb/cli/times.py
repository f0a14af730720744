"""Times as users write them."""

from __future__ import annotations

from datetime import UTC, datetime

from bmacdb.clock import to_ms
from bmacdb.errors import UsageError

__all__ = ["parse_time"]


def parse_time(option: str, text: str) -> int:
    """Milliseconds of an ISO time; without a zone it is UTC. Raises UsageError naming the option."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text!r} is not an ISO time, as 2024-08-03 or 2024-08-03T12:50:00Z is.") from None
    return to_ms(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
