"""What can go wrong at the stand-in exchange: frozen descriptions, and how they are written on a command line.

A `Mishap` may strike again and again: within [from_ms, until_ms) of the exchange's time, with a
probability, for some symbols, at most so many times. An `Event` happens once, to one symbol. All
seconds are the exchange's own, so a fault means the same at every speed.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import NoneType, UnionType
from typing import ClassVar, Literal, get_args, get_origin

from bmacdb.errors import UsageError, did_you_mean
from bmacdb.model import Market

__all__ = [
    "KINDS",
    "Blocked",
    "ChangingBar",
    "ClockSkew",
    "Delisting",
    "DoubledClose",
    "Event",
    "Fault",
    "FormingBar",
    "GarbageFrame",
    "Halt",
    "Hang",
    "LateClose",
    "Listing",
    "LostClose",
    "Mishap",
    "Refused",
    "Relisting",
    "RestStatus",
    "SilentSocket",
    "SilentStream",
    "SocketDies",
    "StaleKlines",
    "StatusBlip",
    "SwappedClose",
    "TruncatedBody",
    "Unlisted",
    "Unwelcome",
    "WrongClose",
    "fault_of",
    "parse_fault",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mishap:
    """Strikes within [from_ms, until_ms) (None: from now on, for ever), with `probability`, at most `times`.

    For a closing frame that time is its run time, for a request when it arrives. No `symbols`: all of them.
    """

    kind: ClassVar[str]
    probability: float = 1.0
    market: Market | None = None
    symbols: frozenset[str] = frozenset()
    from_ms: int | None = None
    until_ms: int | None = None
    times: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LostClose(Mishap):
    """The closing frame is never sent."""

    kind: ClassVar[str] = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class LateClose(Mishap):
    """The closing frame is sent `seconds` late."""

    kind: ClassVar[str] = "late"
    seconds: float = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubledClose(Mishap):
    """The closing frame is sent twice."""

    kind: ClassVar[str] = "doubled"


@dataclass(frozen=True, slots=True, kw_only=True)
class SwappedClose(Mishap):
    """The closing frame is sent after that of the next bar."""

    kind: ClassVar[str] = "swapped"


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongClose(Mishap):
    """The closing frame has another volume than history will have."""

    kind: ClassVar[str] = "wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class GarbageFrame(Mishap):
    """`text` or `binary`: a frame that is no JSON, sent before the closing frame; `half`: only half of that is sent."""

    kind: ClassVar[str] = "garbage"
    shape: Literal["text", "half", "binary"] = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketDies(Mishap):
    """At a boundary the connection breaks, before its closing frames or in the middle of them.

    New ones are refused for `refuse_seconds`. The probability is a connection's. `announced`: with a
    serverShutdown event first.
    """

    kind: ClassVar[str] = "dies"
    refuse_seconds: float = 0.0
    midway: bool = False
    announced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(Mishap):
    """Connections are refused: websockets, and with `rest` requests as well."""

    kind: ClassVar[str] = "refused"
    rest: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SilentSocket(Mishap):
    """A connection opened before `from_ms` stays open and acknowledges, but sends no candle.

    The probability is a connection's.
    """

    kind: ClassVar[str] = "silent"


@dataclass(frozen=True, slots=True, kw_only=True)
class SilentStream(Mishap):
    """Some streams of a connection are silent, until they are asked for again, on a new connection, or for good.

    The probability is a symbol's.
    """

    kind: ClassVar[str] = "mute"
    cure: Literal["subscribe", "reconnect", "none"] = "reconnect"


@dataclass(frozen=True, slots=True, kw_only=True)
class RestStatus(Mishap):
    """A request is answered with `status` and not served. `endpoint` (klines, exchangeInfo, …): of those alone.

    429 and 418 carry Retry-After when `retry_after` (seconds) is given.
    """

    kind: ClassVar[str] = "rest"
    status: int = 503
    retry_after: int | None = None
    html: bool = False
    endpoint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TruncatedBody(Mishap):
    """The JSON of an answer ends in the middle."""

    kind: ClassVar[str] = "truncated"
    endpoint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hang(Mishap):
    """An answer takes `seconds` longer; None: it never comes."""

    kind: ClassVar[str] = "hang"
    seconds: float | None = None
    endpoint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleKlines(Mishap):
    """Bars are missing from klines for `seconds` after their close."""

    kind: ClassVar[str] = "stale"
    seconds: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FormingBar(Mishap):
    """Klines have the open bar as their last row, even though endTime excludes it."""

    kind: ClassVar[str] = "forming"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangingBar(Mishap):
    """Klines still change for `seconds` after the close: at first they lack the last `share` of the bar's trades."""

    kind: ClassVar[str] = "changing"
    seconds: float = 8.0
    share: float = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusBlip(Mishap):
    """Exchange info has another status (none given: BREAK, TRADING_HALT) for symbols that trade all the same.

    The probability is a symbol's.
    """

    kind: ClassVar[str] = "status"
    status: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlisted(Mishap):
    """Exchange info leaves out symbols that trade all the same. The probability is a symbol's."""

    kind: ClassVar[str] = "unlisted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked(Mishap):
    """Everything, websockets too, is answered with `status`: 451 by law, 403 by the firewall."""

    kind: ClassVar[str] = "blocked"
    status: int = 451


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwelcome(Mishap):
    """A websocket is accepted and then closed at once (1008), or its subscriptions are refused (`how=deny`)."""

    kind: ClassVar[str] = "unwelcome"
    how: Literal["close", "deny"] = "close"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Happens once, at `at_ms` of the exchange's time (None: now)."""

    kind: ClassVar[str]
    at_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockSkew(Event):
    """The exchange's clock steps by `seconds`: what a machine sees whose own is that much behind."""

    kind: ClassVar[str] = "skew"
    seconds: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing(Event):
    """A new symbol begins to trade (on futures as a perpetual)."""

    kind: ClassVar[str] = "listing"
    market: Market
    symbol: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delisting(Event):
    """A symbol trades no more."""

    kind: ClassVar[str] = "delisting"
    market: Market
    symbol: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Relisting(Event):
    """A ticker that was delisted is used again, by another asset; futures then forget the klines of the old one."""

    kind: ClassVar[str] = "relisting"
    market: Market
    symbol: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Halt(Event):
    """A symbol makes no bars for `seconds`, and then resumes."""

    kind: ClassVar[str] = "halt"
    market: Market
    symbol: str
    seconds: float = 300.0


Fault = Mishap | Event

KINDS: dict[str, type[Mishap] | type[Event]] = {
    kind.kind: kind
    for kind in (
        LostClose,
        LateClose,
        DoubledClose,
        SwappedClose,
        WrongClose,
        GarbageFrame,
        SocketDies,
        Refused,
        SilentSocket,
        SilentStream,
        RestStatus,
        TruncatedBody,
        Hang,
        StaleKlines,
        FormingBar,
        ChangingBar,
        StatusBlip,
        Unlisted,
        Blocked,
        Unwelcome,
        ClockSkew,
        Listing,
        Delisting,
        Relisting,
        Halt,
    )
}
"""Every fault by the name it has on a command line."""


def parse_fault(text: str, *, now_ms: int) -> Fault:
    """The fault written as `KIND[:PROBABILITY][,NAME=VALUE…]`: `late:0.1,seconds=30,symbols=BTCUSDT+ETHUSDT`.

    `after` and `for` are seconds from `now_ms` in place of `from_ms` (of an event: `at_ms`) and `until_ms`.
    Raises UsageError that names the part that cannot be used.
    """
    head, *rest = text.split(",")
    kind, colon, probability = head.partition(":")
    values: dict[str, object] = {"probability": probability} if colon else {}
    for part in rest:
        name, equals, value = part.partition("=")
        if not equals:
            raise UsageError(f"fault {text!r}: {part!r} is not of the form NAME=VALUE, as seconds=30 is.")
        values[name.strip()] = value.strip()
    return fault_of(kind.strip(), values, now_ms=now_ms)


def fault_of(kind: str, values: Mapping[str, object], *, now_ms: int) -> Fault:
    """The fault of `kind` with fields given by name, as strings or as JSON values. Raises UsageError."""
    known = KINDS.get(kind)
    if known is None:
        raise UsageError(f"fault {kind!r} is not one of {', '.join(KINDS)}.{did_you_mean(kind, KINDS)}")
    values = dict(values)
    event = issubclass(known, Event)
    if "after" in values:
        start = "at_ms" if event else "from_ms"
        values[start] = now_ms + round(1000 * _float(kind, "after", values.pop("after")))
    if "for" in values and not event:
        start_ms = values.get("from_ms", now_ms)
        values["until_ms"] = int(str(start_ms)) + round(1000 * _float(kind, "for", values.pop("for")))
    types = typing.get_type_hints(known)
    names = [field.name for field in fields(known)]
    arguments: dict[str, typing.Any] = {}
    for name, value in values.items():
        if name not in names:
            hint = did_you_mean(name, names)
            raise UsageError(f"fault {kind!r} has no {name!r}; it has {', '.join([*names, 'after', 'for'])}.{hint}")
        arguments[name] = _convert(kind, name, value, types[name])
    missing = [name for name in ("market", "symbol") if event and name in names and name not in arguments]
    if missing:
        raise UsageError(f"fault {kind!r} needs {' and '.join(missing)}, as in {kind},market=spot,symbol=BTCUSDT.")
    fault = known(**arguments)
    if isinstance(fault, Mishap) and not 0 <= fault.probability <= 1:
        raise UsageError(f"fault {kind!r}: probability {fault.probability:g} is not between 0 and 1.")
    return fault


def _float(kind: str, name: str, value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        raise UsageError(f"fault {kind!r}: {name} {value!r} is not a number.") from None


def _convert(kind: str, name: str, value: object, wanted: object) -> object:
    """`value` as a field of type `wanted` takes it."""
    if get_origin(wanted) in (UnionType, typing.Union):
        if value is None or value == "none":
            return None
        (wanted,) = (one for one in get_args(wanted) if one is not NoneType)
    if get_origin(wanted) is Literal:
        if value not in get_args(wanted):
            raise UsageError(f"fault {kind!r}: {name} {value!r} is not one of {', '.join(get_args(wanted))}.")
        return value
    if get_origin(wanted) is frozenset:
        return frozenset(value.split("+") if isinstance(value, str) else typing.cast("list[str]", value))
    if wanted is Market:
        try:
            return Market(str(value))
        except ValueError:
            markets = [market.value for market in Market]
            hint = did_you_mean(str(value), markets)
            raise UsageError(f"fault {kind!r}: market {value!r} is not one of {', '.join(markets)}.{hint}") from None
    if wanted is bool:
        if str(value).lower() not in ("true", "false", "1", "0"):
            raise UsageError(f"fault {kind!r}: {name} {value!r} is neither true nor false.")
        return str(value).lower() in ("true", "1")
    if wanted is str:
        return str(value)
    number = _float(kind, name, value)
    if wanted is int:
        if number != int(number):
            raise UsageError(f"fault {kind!r}: {name} {value!r} is not a whole number.")
        return int(number)
    return number
