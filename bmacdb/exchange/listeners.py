"""The listeners of one feed: its symbols spread over groups, and streams that are silent while their symbols trade."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from bmacdb.clock import Clock
from bmacdb.exchange.stream import CandleListener, ListenerStatus
from bmacdb.model import Feed

__all__ = ["Listeners"]

_STREAMS_A_CONNECTION = 800  # the exchange closes a connection at its 1025th, and all are lost


class Listeners:
    """The listeners of one feed: its symbols, spread evenly and kept where they are while they trade."""

    def __init__(self, feed: Feed, groups: int, make: Callable[[int], CandleListener], *, clock: Clock) -> None:
        """`make` makes the listener of a group."""
        self.feed = feed
        self._make, self._clock = make, clock
        self._doubted: dict[str, float] = {}  # streams asked for again, and when (monotonic seconds)
        self._listeners = [make(group) for group in range(groups)]
        self._group_of: dict[str, CandleListener] = {}
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Listen until cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            for listener in self._listeners:
                self._tasks.create_task(listener.run())

    def listen(self, symbols: Collection[str]) -> tuple[ListenerStatus, ...]:
        """Carry exactly `symbols` from now on; returns the groups that changed."""
        wanted = set(symbols)
        before = {listener.group: set(listener.symbols) for listener in self._listeners}
        shares = {listener.group: listener.symbols & wanted for listener in self._listeners}
        for symbol in sorted(wanted - set().union(*shares.values())):
            group = min(shares, key=lambda group: len(shares[group]))
            if len(shares[group]) >= _STREAMS_A_CONNECTION:
                group = self._add()
                shares[group] = set()
            shares[group].add(symbol)
        for listener in self._listeners:
            listener.change(shares[listener.group])
            self._group_of.update(dict.fromkeys(shares[listener.group], listener))
        changed = (listener for listener in self._listeners if listener.symbols != before.get(listener.group, set()))
        return tuple(listener.status() for listener in changed)

    def _add(self) -> int:
        listener = self._make(len(self._listeners))
        self._listeners.append(listener)
        if self._tasks is not None:
            self._tasks.create_task(listener.run())
        return listener.group

    def heard_since(self, symbol: str, monotonic: float) -> bool:
        """Whether the stream of `symbol` has spoken since `monotonic` (seconds)."""
        listener = self._group_of.get(symbol)
        last = None if listener is None else listener.last_heard(symbol)
        return last is not None and last >= monotonic

    def distrust(self, symbols: Collection[str]) -> None:
        """Deal with streams that owed a bar and said nothing: ask for them again. When that was done before and they
        are silent still, or when most of a group is silent, replace the whole connection."""
        now = self._clock.monotonic()
        by_listener: dict[CandleListener, set[str]] = {}
        for symbol in symbols:
            if (listener := self._group_of.get(symbol)) is not None:
                by_listener.setdefault(listener, set()).add(symbol)
        for listener, silent in by_listener.items():
            again = {s for s in silent if s in self._doubted and not self.heard_since(s, self._doubted[s])}
            if again or 2 * len(silent) > len(listener.symbols):
                listener.mistrust(f"{len(silent)} of {len(listener.symbols)} streams are silent")
                for symbol in silent:
                    self._doubted.pop(symbol, None)
            else:
                listener.resubscribe(silent)
                self._doubted.update(dict.fromkeys(silent, now))

    def renew(self, reason: str) -> None:
        """Replace every connection by a new one."""
        for listener in self._listeners:
            listener.renew(reason)

    def status(self) -> tuple[ListenerStatus, ...]:
        return tuple(listener.status() for listener in self._listeners if listener.symbols)
