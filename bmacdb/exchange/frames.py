"""Websocket frames: closed klines, and the answers that are no market data.

Most frames update a bar that is still open, and are sorted out by `stream_of` and a search for `true` without being
parsed. The exchange puts spaces inside `k` at times, so nothing here matches the inside of a frame as text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from bmacdb.errors import Malformed
from bmacdb.exchange.decoding import check_bar, decode, excerpt
from bmacdb.interval import INTERVALS, Interval
from bmacdb.model import Candle, Source

__all__ = [
    "Ack",
    "KlineEvent",
    "ServerShutdown",
    "SubscribeError",
    "parse_control",
    "parse_kline_frame",
    "stream_of",
]

_HEAD = b'{"stream":"'
_HEAD_LENGTH = len(_HEAD)
# The same with spaces or escapes, should the exchange ever print it so: slower, but the stream is not lost.
_ODD_HEAD = re.compile(rb'\s*\{\s*"stream"\s*:\s*("(?:[^"@\\]|\\.){1,100})@')
_INTERVALS = {name: Interval.parse(name) for name in INTERVALS}


class KlineEvent(msgspec.Struct, frozen=True, gc=False):
    """A closed bar as the websocket brought it; `event_ms` is when the exchange sent it."""

    candle: Candle
    interval: str
    event_ms: int


@dataclass(frozen=True, slots=True)
class Ack:
    """The exchange took message `id`. (It takes nearly everything: a first frame is the proof, not this.)"""

    id: int


@dataclass(frozen=True, slots=True)
class SubscribeError:
    """The exchange refused message `id` (None: it could not tell which)."""

    id: int | None
    code: int
    message: str


@dataclass(frozen=True, slots=True)
class ServerShutdown:
    """The exchange announces that this server goes down: connect anew."""


class _Bar(msgspec.Struct, gc=False):
    t: int
    i: str
    o: float
    h: float
    l: float  # noqa: E741  (the exchange's name)
    c: float
    v: float
    q: float
    n: int
    x: bool
    V: float
    Q: float


class _Event(msgspec.Struct, gc=False):
    e: str = ""
    E: int = 0
    s: str = ""
    k: _Bar | None = None


class _Frame(_Event, gc=False):
    """A combined frame, or a raw one (then `data` is missing and the event's own fields are here)."""

    data: _Event | None = None


class _Kind(msgspec.Struct, gc=False):
    e: str | None = None


class _Refusal(msgspec.Struct, gc=False):
    code: int = 0
    msg: str = ""


class _Control(msgspec.Struct, gc=False):
    e: str | None = None
    stream: str | None = None
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    id: int | str | None = None
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: _Refusal | None = None
    code: int | None = None
    msg: str = ""


_FRAME = msgspec.json.Decoder(_Frame, strict=False)
_CONTROL = msgspec.json.Decoder(_Control | list[msgspec.Raw], strict=False)
_KIND = msgspec.json.Decoder(_Kind | list[msgspec.Raw], strict=False)


def stream_of(frame: bytes) -> bytes | None:
    """The symbol of a combined frame, lower case in UTF-8: `btcusdt` of `{"stream":"btcusdt@kline_1m",…`.

    None for any other frame. Every frame passes through here: it looks at the first bytes alone.
    """
    if frame[:_HEAD_LENGTH] == _HEAD:
        end = frame.find(b"@", _HEAD_LENGTH, 120)
        if end > 0 and frame[_HEAD_LENGTH] != 92:  # a backslash: an escaped name
            return frame[_HEAD_LENGTH:end]
    return _odd_stream_of(frame)


def _odd_stream_of(frame: bytes) -> bytes | None:
    head = _ODD_HEAD.match(frame)
    if head is None:
        return None
    try:
        name: str = msgspec.json.decode(head[1] + b'"', type=str)
        return name.encode()
    except (msgspec.MsgspecError, UnicodeError):
        return None


def parse_kline_frame(frame: bytes, *, open_too: bool = False) -> KlineEvent | None:
    """The closed bar of a frame, combined or raw; None for an event of another kind, and for an open bar unless
    `open_too`.

    Raises Malformed for anything that does not parse or cannot be a bar.
    """
    try:
        outer = _FRAME.decode(frame)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        if _is_about_something_else(frame):
            return None
        raise Malformed(f"a frame does not parse ({error}): {excerpt(frame)}") from error
    event: _Event = outer if outer.data is None else outer.data
    bar = event.k
    if event.e != "kline":
        return None
    if bar is None:
        raise Malformed(f"a kline frame without its bar: {excerpt(frame)}")
    if not bar.x and not open_too:
        return None
    problem = check_bar(
        opened_ms=bar.t,
        open=bar.o,
        high=bar.h,
        low=bar.l,
        close=bar.c,
        volumes=(bar.v, bar.q, bar.V, bar.Q),
        trades=bar.n,
    )
    interval = _INTERVALS.get(bar.i)
    if problem is None and interval is None:
        problem = f"{bar.i!r} is no interval"
    if problem is None and not event.s:
        problem = "it names no symbol"
    if problem is None and interval is not None and bar.i != "3d" and not interval.on_grid(bar.t):
        problem = f"no bar of {bar.i} opens at {bar.t}"  # the grid of 3d is the exchange's to choose
    if problem is not None:
        raise Malformed(f"a kline frame is wrong ({problem}): {excerpt(frame)}")
    candle = Candle(event.s, bar.t, bar.o, bar.h, bar.l, bar.c, bar.v, bar.q, bar.n, bar.V, bar.Q, Source.WS)
    return KlineEvent(candle, bar.i, event.E)


def _is_about_something_else(frame: bytes) -> bool:
    """Whether a frame that does not parse as a kline is an event of another kind, some of which share field names."""
    try:
        outer = _CONTROL.decode(frame)
        if isinstance(outer, list):
            return True
        inner = _KIND.decode(outer.data) if isinstance(outer.data, msgspec.Raw) else outer
        return isinstance(inner, list) or (inner.e is not None and inner.e != "kline")
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False


def parse_control(frame: bytes) -> Ack | SubscribeError | ServerShutdown | None:
    """What a frame of no subscribed stream says; None for market data of any kind.

    Raises Malformed for what is none of it.
    """
    control = decode(_CONTROL, frame, "a frame")
    if isinstance(control, list):
        return None  # a raw all-market event
    number = control.id if isinstance(control.id, int) else None
    if control.error is not None:
        return SubscribeError(number, control.error.code, control.error.msg)
    if control.e == "serverShutdown" or control.stream == "!serverShutdown":
        return ServerShutdown()
    if control.e is not None or control.stream is not None:
        return None
    if control.code is not None:
        return SubscribeError(number, control.code, control.msg)
    if number is not None:
        return Ack(number)
    if isinstance(control.result, msgspec.Raw):
        return None  # the answer to a message that was not ours
    raise Malformed(f"a frame of no known kind: {excerpt(frame)}")
