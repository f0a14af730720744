"""How the values of settings are read: text of the command line and the environment, values of a file, `@FILE`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import BaseModel, BeforeValidator, ConfigDict, SecretStr, ValidationInfo
from pydantic_core import PydanticCustomError

from bmacdb.errors import UsageError, did_you_mean
from bmacdb.model import Feed
from bmacdb.offset import Resampling, parse_resampling
from bmacdb.sources import mask_url
from bmacdb.symbols import parse_feed

__all__ = [
    "PROXIES",
    "MessageSender",
    "Robot",
    "Seconds",
    "Whole",
    "apprise_urls",
    "checked_address",
    "curve_key",
    "from_json",
    "no_boolean",
    "parse_feeds",
    "parse_resamplings",
    "parse_zone",
    "publish_address",
    "symbol_names",
    "time_zone",
]


def no_boolean(value: object) -> object:
    if isinstance(value, bool):  # `num_candles = true` is a slip, not 1
        raise PydanticCustomError("no_number", "not a number")
    return value


def _content(value: str) -> str:
    """The text itself, or what is in the file that @FILE names."""
    if not value.startswith("@"):
        return value
    path = Path(value[1:]).expanduser()
    try:
        return path.read_text("utf-8")
    except (OSError, ValueError) as exc:
        why = (isinstance(exc, OSError) and exc.strerror) or "it is no text in UTF-8"
        raise ValueError(f"cannot read the file {path}: {why}. Behind @ stands the name of a text file") from exc


def from_json(value: object) -> object:
    """Tables may be given as JSON text, or as @FILE that holds it, where a table cannot stand."""
    if not isinstance(value, str):
        return value
    text = _content(value)
    try:
        return json.loads(text)
    except ValueError as exc:
        raise PydanticCustomError("no_table", "not a table") from exc


def apprise_urls(value: object) -> object:
    """URLs in one text are parted by spaces or line ends: commas belong to some of them."""
    if isinstance(value, str):
        value = _content(value)
    urls = value.split() if isinstance(value, str) else value
    if isinstance(urls, list | tuple) and any(not isinstance(url, str) or "://" not in url for url in urls):
        raise PydanticCustomError("no_urls", "not URLs")
    return urls


def _split(parts: Iterable[object]) -> list[object]:
    return [part for text in parts for part in (text.split(",") if isinstance(text, str) else [text])]


def symbol_names(value: object) -> object:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        return parts
    names = _split(parts)
    if any(not isinstance(name, str) for name in names):
        return names
    clean = tuple(dict.fromkeys(name for name in (str(name).strip().upper() for name in names) if name))
    if not clean:
        raise ValueError("is an empty list. Leave it out to record every symbol")
    return clean


def parse_feeds(value: object) -> object:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        return parts
    feeds: dict[str, object] = {}
    for part in _split(parts):
        try:
            feed = parse_feed(part.strip()) if isinstance(part, str) else part
        except UsageError as exc:
            raise ValueError(str(exc)) from exc
        feeds.setdefault(feed.name if isinstance(feed, Feed) else repr(feed), feed)
    return tuple(feeds.values())


def parse_resamplings(value: object, info: ValidationInfo) -> object:
    parts = value.split(",") if isinstance(value, str) else value
    feeds = info.data.get("feeds", ())
    if not isinstance(parts, list | tuple) or any(not isinstance(part, str | Resampling) for part in parts):
        return parts
    found: dict[str, Resampling] = {}
    for part in _split(parts):
        try:
            made = (part,) if isinstance(part, Resampling) else parse_resampling(str(part), feeds)
        except UsageError as exc:
            raise ValueError(str(exc)) from exc
        found.update((one.name, one) for one in made)
    return tuple(found.values())


def parse_zone(value: object) -> object:
    return time_zone(value) if isinstance(value, str) else value


def time_zone(value: str) -> ZoneInfo:
    """The time zone of a name. Raises ValueError with the nearest one."""
    try:
        return ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        by_lower = {name.lower(): name for name in available_timezones()}
        exact = by_lower.get(value.lower().replace(" ", "_"))
        hint = f" Did you mean {exact}?" if exact else did_you_mean(value, by_lower)
        near = hint.removeprefix(" Did you mean ").rstrip("?")
        hint = f" Did you mean {by_lower.get(near, near)}?" if hint else ""
        raise ValueError(f"{mask_url(value)!r} is no time zone (Asia/Shanghai and UTC are).{hint}") from exc


PROXIES = ("http", "https", "socks5h", "socks5", "socks4a", "socks4")


def checked_address(value: str | None, schemes: tuple[str, ...], *, path: bool = True) -> str | None:
    if value is None:
        return None
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
        parts = urlsplit("")
    shown, plain = mask_url(value), schemes[0]
    if parts.scheme not in schemes or not host:
        rest = value.partition("://")[2] or value
        better = schemes[1] if parts.scheme in ("https", "wss") else plain
        hint = f" Did you mean {mask_url(f'{better}://{rest}')}?" if rest else ""
        wanted = " or ".join(f"{scheme}://host:port" for scheme in schemes[:3])
        raise ValueError(f"{shown!r} is not an address like {wanted}.{hint}")
    if parts.query or parts.fragment or (parts.path.strip("/") and not path):
        secret = "@" in value and "@" not in parts.netloc  # a password with a slash in it
        hint = "" if secret else f" Did you mean {mask_url(f'{parts.scheme}://{parts.netloc}')}?"
        raise ValueError(f"{shown!r} has {'a query' if path else 'a path'}, which cannot be used.{hint}")
    if port == 0:
        raise ValueError(f"{shown!r} has port 0")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def curve_key(value: object) -> object:
    """A secret key of CURVE, or what @FILE holds; never shown, not even where it is wrong."""
    if not isinstance(value, str):
        return value
    import zmq  # not with every command: 20 ms

    key = _content(value).strip()
    try:
        zmq.curve_public(key.encode())
    except (ValueError, zmq.ZMQError):
        raise ValueError(
            "is no secret key of CURVE, which has 40 characters. docs/stream.md says how to make one"
        ) from None
    return SecretStr(key)


def publish_address(value: str | None, *, with_key: bool) -> str | None:
    """An address of this machine. Raises ValueError when other machines can reach it and there is no key."""
    address = checked_address(value, ("tcp",), path=False)
    if address is None:
        return None
    parts = urlsplit(address)
    if parts.port is None:
        raise ValueError(f"{address!r} has no port. Did you mean {address}:9800?")
    loopback = parts.hostname == "::1" or str(parts.hostname).startswith("127.")
    if not loopback and not with_key:
        raise ValueError(
            f"{address!r} can be reached from other machines, for which publish_key is needed. docs/stream.md says "
            "how to make one"
        )
    return address


Whole = Annotated[int, BeforeValidator(no_boolean)]
Seconds = Annotated[float, BeforeValidator(no_boolean)]


class Robot(BaseModel):
    """The credentials of one chat robot."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    access_token: SecretStr | None = None
    secret: SecretStr | None = None
    webhook_url: SecretStr | None = None


class MessageSender(BaseModel):
    """Where alerts go: the kind of robot, and the robot of each channel (`error`)."""

    model_config = ConfigDict(frozen=True, extra="allow", hide_input_in_errors=True)
    __pydantic_extra__: dict[str, Robot]

    type: Literal["dingding", "wechat_work"] = "dingding"

    @property
    def channels(self) -> dict[str, Robot]:
        return dict(self.__pydantic_extra__)
