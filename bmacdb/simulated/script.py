"""The script of faults: which of them strike now. Seeded, so that a failure can be played again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal, TypeVar

from bmacdb.model import Market
from bmacdb.simulated.encode import Frame, StreamKey, binary_frame, text_frame
from bmacdb.simulated.faults import (
    Blocked,
    DoubledClose,
    GarbageFrame,
    Hang,
    LateClose,
    LostClose,
    Mishap,
    Refused,
    RestStatus,
    SilentSocket,
    SilentStream,
    SocketDies,
    StatusBlip,
    SwappedClose,
    TruncatedBody,
    Unlisted,
    Unwelcome,
    WrongClose,
)
from bmacdb.simulated.sockets import Connection
from bmacdb.simulated.stats import Stats

__all__ = ["Closing", "Script"]

_M = TypeVar("_M", bound=Mishap)

_OF_CLOSES = (LostClose, WrongClose, LateClose, SwappedClose, GarbageFrame, DoubledClose)
"""In the order in which they befall a frame."""


@dataclass(slots=True)
class _Armed:
    mishap: Mishap
    number: int
    since_ms: int
    struck: int = 0
    asked: int = 0


@dataclass(slots=True)
class Closing:
    """Closing frames of one boundary: to send now, so many seconds later, and after those of the next boundary."""

    now: list[tuple[StreamKey, Frame]] = field(default_factory=list)
    later: list[tuple[float, StreamKey, Frame]] = field(default_factory=list)
    after_next: list[tuple[StreamKey, Frame]] = field(default_factory=list)


class Script:
    """Holds the mishaps that may strike, and says when they do."""

    def __init__(self, seed: int, stats: Stats) -> None:
        self._seed, self._stats = seed, stats
        self._armed: dict[type[Mishap], list[_Armed]] = {}
        self._count = 0
        self._refused_until_ms = 0

    def add(self, mishap: Mishap, *, now_ms: int) -> None:
        """Let `mishap` strike from now on."""
        self._armed.setdefault(type(mishap), []).append(_Armed(mishap, self._count, now_ms))
        self._count += 1

    def clear(self) -> None:
        """Let nothing strike any more."""
        self._armed.clear()
        self._refused_until_ms = 0

    def _dice(self, armed: _Armed, *parts: object) -> float:
        text = "\0".join(map(str, (self._seed, armed.number, *parts)))
        return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") / 2.0**64

    def _strikes(
        self, armed: _Armed, at_ms: int, market: Market | None, symbol: str | None, *dice: object, count: bool = True
    ) -> bool:
        """Whether it strikes at `at_ms`. (None: of no market, of no symbol, as a connection is.)"""
        mishap = armed.mishap
        if (mishap.from_ms is not None and at_ms < mishap.from_ms) or (
            mishap.until_ms is not None and at_ms >= mishap.until_ms
        ):
            return False
        if mishap.times is not None and armed.struck >= mishap.times:
            return False
        if mishap.market is not None and market is not None and market is not mishap.market:
            return False
        if mishap.symbols and symbol is not None and symbol not in mishap.symbols:
            return False
        if mishap.probability < 1 and self._dice(armed, *dice) >= mishap.probability:
            return False
        if count:
            armed.struck += 1
            self._stats.faults[mishap.kind] += 1
        return True

    def strike(
        self, kind: type[_M], *, now_ms: int, market: Market | None, symbol: str | None, endpoint: str = ""
    ) -> _M | None:
        """The mishap of `kind` that befalls a request, if any does."""
        for armed in self._armed.get(kind, ()):
            mishap = armed.mishap
            if isinstance(mishap, (RestStatus, TruncatedBody, Hang)) and mishap.endpoint not in ("", endpoint):
                continue
            if mishap.symbols and symbol is None:
                continue
            armed.asked += 1
            if self._strikes(armed, now_ms, market, symbol, armed.asked):
                assert isinstance(mishap, kind)
                return mishap
        return None

    def listed_wrong(self, now_ms: int, market: Market, symbol: str) -> StatusBlip | Unlisted | None:
        """What befalls a symbol in exchange info, if anything does."""
        for kind in (StatusBlip, Unlisted):
            for armed in self._armed.get(kind, ()):
                if self._strikes(armed, now_ms, market, symbol, symbol):
                    assert isinstance(armed.mishap, StatusBlip | Unlisted)
                    return armed.mishap
        return None

    # --- websockets

    def closing(self, frames: Sequence[tuple[StreamKey, Frame]], run_time_ms: int) -> Closing:
        """What becomes of the closing frames of a boundary."""
        plan = Closing()
        if not any(kind in self._armed for kind in _OF_CLOSES):
            plan.now.extend(frames)
            return plan
        for key, frame in frames:
            self._befall(plan, key, frame, run_time_ms)
        return plan

    def _befall(self, plan: Closing, key: StreamKey, frame: Frame, run_time_ms: int) -> None:
        for kind in _OF_CLOSES:
            for armed in self._armed.get(kind, ()):
                if not self._strikes(armed, run_time_ms, frame.market, frame.symbol, frame.symbol, run_time_ms):
                    continue
                match armed.mishap:
                    case LostClose():
                        return
                    case WrongClose():
                        frame = frame.altered()
                    case LateClose(seconds=seconds):
                        plan.later.append((seconds, key, frame))
                        return
                    case SwappedClose():
                        plan.after_next.append((key, frame))
                        return
                    case GarbageFrame(shape="half"):
                        plan.now.append((key, frame.cut()))
                        return
                    case GarbageFrame(shape=shape):
                        wrap = text_frame if shape == "text" else binary_frame
                        noise = wrap(b'\x7b"stream":\xe5\xb8\x81 true ' if shape == "text" else b"\x00\xff\x13true\x37")
                        plan.now.append((key, Frame(noise, noise, frame.market, frame.symbol)))
                    case DoubledClose():
                        plan.now.append((key, frame))
        plan.now.append((key, frame))

    def dying(self, connections: Iterable[Connection], run_time_ms: int) -> dict[Connection, SocketDies]:
        """The connections that break at a boundary."""
        doomed: dict[Connection, SocketDies] = {}
        for armed in self._armed.get(SocketDies, ()):
            mishap = armed.mishap
            assert isinstance(mishap, SocketDies)
            for connection in connections:
                market = None if connection.futures else Market.SPOT
                if connection.futures and mishap.market is Market.SPOT:
                    continue
                if self._strikes(armed, run_time_ms, market, None, connection.number, run_time_ms):
                    doomed[connection] = mishap
                    until_ms = run_time_ms + round(mishap.refuse_seconds * 1000)
                    self._refused_until_ms = max(self._refused_until_ms, until_ms)
        return doomed

    def refuses(self, now_ms: int) -> bool:
        """Whether a new websocket is refused."""
        return (
            now_ms < self._refused_until_ms or self.strike(Refused, now_ms=now_ms, market=None, symbol=None) is not None
        )

    def refuses_requests(self, now_ms: int) -> bool:
        """Whether a request finds nobody there."""
        return any(
            isinstance(armed.mishap, Refused) and armed.mishap.rest and self._strikes(armed, now_ms, None, None)
            for armed in self._armed.get(Refused, ())
        )

    def blocked(self, now_ms: int) -> int | None:
        """The status that everything is answered with, if it is."""
        mishap = self.strike(Blocked, now_ms=now_ms, market=None, symbol=None)
        return None if mishap is None else mishap.status

    def welcomes(self, now_ms: int, how: Literal["close", "deny"]) -> bool:
        """Whether a new websocket may stay (`close`), or may subscribe (`deny`)."""
        return not any(
            isinstance(armed.mishap, Unwelcome) and armed.mishap.how == how and self._strikes(armed, now_ms, None, None)
            for armed in self._armed.get(Unwelcome, ())
        )

    @property
    def silences(self) -> bool:
        """Whether `silent` has to be asked at all."""
        return SilentSocket in self._armed or SilentStream in self._armed

    def silent(self, connection: Connection, key: StreamKey, frame: Frame, now_ms: int) -> bool:
        """Whether a connection does not get the frames of a stream."""
        for armed in (*self._armed.get(SilentSocket, ()), *self._armed.get(SilentStream, ())):
            mishap = armed.mishap
            since_ms = armed.since_ms if mishap.from_ms is None else mishap.from_ms
            affected, dice = True, frame.symbol
            match mishap:
                case SilentSocket():
                    affected, dice = connection.opened_ms <= since_ms, str(connection.number)
                case SilentStream(cure="subscribe"):
                    affected = connection.streams.get(key[1], 0) <= since_ms
                case SilentStream(cure="reconnect"):
                    affected = connection.opened_ms <= since_ms
            if affected and self._strikes(armed, now_ms, frame.market, frame.symbol, dice, count=False):
                return True
        return False
