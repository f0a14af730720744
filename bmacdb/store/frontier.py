"""The newest time of each name in a table, known without asking it. Pure.

What is later than its name's frontier cannot be in the table, and goes in without a look-up: that is every candle of an
ordinary period. A frontier is an upper bound, so deleting rows leaves it true; whatever else writes must make it
forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

__all__ = ["Frontier"]

_T = TypeVar("_T")


class Frontier:
    """The newest time of each name, in milliseconds, as of the last commit."""

    def __init__(self, newest: Mapping[str, int]) -> None:
        self._newest = dict(newest)

    def __repr__(self) -> str:
        return f"<Frontier names={len(self._newest)}>"

    def split(self, rows: Iterable[_T], key: Callable[[_T], tuple[str, int]]) -> tuple[list[_T], list[_T]]:
        """(rows beyond the frontier, the others)."""
        beyond: list[_T] = []
        others: list[_T] = []
        known = self._newest.get
        for row in rows:
            name, time_ms = key(row)
            (beyond if time_ms > known(name, -1) else others).append(row)
        return beyond, others

    def advance(self, keys: Iterable[tuple[str, int]]) -> None:
        """Take what was committed into account."""
        for name, time_ms in keys:
            if time_ms > self._newest.get(name, -1):
                self._newest[name] = time_ms
