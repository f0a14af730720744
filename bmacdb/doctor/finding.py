"""What the doctor finds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "Level", "fail", "ok", "warn", "worst"]


class Level(StrEnum):
    """`warn` records all the same; `fail` does not record, or loses data."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, what was found, and what to do about it ('' where nothing is)."""

    level: Level
    name: str
    text: str
    remedy: str = ""


def ok(name: str, text: str) -> Finding:
    return Finding(Level.OK, name, text)


def warn(name: str, text: str, remedy: str = "") -> Finding:
    return Finding(Level.WARN, name, text, remedy)


def fail(name: str, text: str, remedy: str = "") -> Finding:
    return Finding(Level.FAIL, name, text, remedy)


def worst(findings: Iterable[Finding]) -> Level:
    """The worst level among them; ok when there is none."""
    order = list(Level)
    return max((finding.level for finding in findings), key=order.index, default=Level.OK)
