"""The settings as one frozen object: what each may be, and how a user sees them. Secrets are kept and never shown."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import tzinfo
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from bmacdb.errors import UsageError, did_you_mean
from bmacdb.model import Feed, Market
from bmacdb.offset import Resampling, parse_resampling
from bmacdb.sources import mask_url
from bmacdb.symbols import SpotAssets, parse_feed

__all__ = ["CHOICES", "DATABASE_NAME", "OPTIONS", "SECRET", "MessageSender", "Robot", "Settings", "time_zone"]

DATABASE_NAME = "bmac.duckdb"

OPTIONS: dict[str, str] = {
    "interval": "an interval of the exchange, as 1m, 5m, 1h or 1d",
    "trade_type": "a trade type, as usdt_perp or usdt_deli",
    "feeds": "feeds like usdt_perp_5m, in place of interval and trade_type",
    "db": "the path of the database file",
    "num_candles": "a whole number from 1 to 10000",
    "keep": "a whole number, num_candles or more",
    "resample": "a list of longer intervals, like 1h or usdt_perp_5m -> 1h",
    "funding_rate": "true or false",
    "keep_symbols": "a list of symbols, like BTCUSDT, ETHUSDT",
    "spot_include": "a list of assets, like FDUSD, USD1",
    "spot_exclude": "a list of assets, like FDUSD, USD1",
    "http_timeout_sec": "seconds, from 0.1 to 600",
    "candle_close_timeout_sec": "seconds, from 0 to 40",
    "rest_settle_sec": "seconds, from 0 to 40",
    "num_rest_fetchers": "a whole number from 1 to 64",
    "num_socket_listeners": "a whole number from 1 to 64",
    "rest_url": "an address like https://host:port or https://host/path",
    "ws_url": "an address like wss://host:port or wss://host/path",
    **{f"{market}_rest_url": f"an address like https://host:port, of {market} alone" for market in Market},
    **{f"{market}_ws_url": f"an address like wss://host:port, of {market} alone" for market in Market},
    "proxy": "an address like http://host:port or socks5h://host:port",
    "periods": "a whole number, 1 or more",
    "log_format": "text or json",
    "timezone": "the name of a time zone, like Asia/Shanghai or UTC",
    "dingding": 'a table like {"error": {"access_token": "…", "secret": "…"}}',
    "alerts": "a list of apprise URLs, like dingtalk://SECRET@TOKEN/ or tgram://TOKEN/CHAT",
    "metrics_port": "a port from 1 to 65535",
    "metrics_host": "an address of this machine, like 127.0.0.1",
    "msg_sender": 'a table like {"type": "dingding", "error": {"access_token": "…", "secret": "…"}}',
    "save_type": "parquet or feather",
    "export_dir": "a directory for files in the predecessor's layout",
    "layout": "bmac",
    "clock_rate": "a number above 0",
}
"""Every setting, and what is expected of it."""

CHOICES = {
    "log_format": ("text", "json"),
    "save_type": ("parquet", "feather"),
    "layout": ("bmac",),
    "funding_rate": ("true", "false"),
}
SECRET = frozenset({"alerts", "dingding", "msg_sender"})


def _number(value: object) -> object:
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


def _from_json(value: object) -> object:
    """Tables may be given as JSON text, or as @FILE that holds it, where a table cannot stand."""
    if not isinstance(value, str):
        return value
    text = _content(value)
    try:
        return json.loads(text)
    except ValueError as exc:
        raise PydanticCustomError("no_table", "not a table") from exc


def _alerts(value: object) -> object:
    """URLs in one text are parted by spaces or line ends: commas belong to some of them."""
    if isinstance(value, str):
        value = _content(value)
    urls = value.split() if isinstance(value, str) else value
    if isinstance(urls, list | tuple) and any(not isinstance(url, str) or "://" not in url for url in urls):
        raise PydanticCustomError("no_urls", "not URLs")
    return urls


def _split(parts: Iterable[object]) -> list[object]:
    return [part for text in parts for part in (text.split(",") if isinstance(text, str) else [text])]


def _symbols(value: object) -> object:
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


def _feeds(value: object) -> object:
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


def _resamplings(value: object, info: ValidationInfo) -> object:
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


def _zone(value: object) -> object:
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


_PROXIES = ("http", "https", "socks5h", "socks5", "socks4a", "socks4")


def _address(value: str | None, schemes: tuple[str, ...], *, path: bool = True) -> str | None:
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


Whole = Annotated[int, BeforeValidator(_number)]
Seconds = Annotated[float, BeforeValidator(_number)]


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


class Settings(BaseModel):
    """All that the recorder needs to know, checked."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    db: Path = Path(DATABASE_NAME)
    feeds: Annotated[tuple[InstanceOf[Feed], ...], BeforeValidator(_feeds), Field(min_length=1)]
    num_candles: Whole = Field(default=1500, ge=1, le=10_000)
    keep: Whole | None = Field(default=None, ge=1)
    resample: Annotated[tuple[InstanceOf[Resampling], ...], BeforeValidator(_resamplings)] = ()
    funding_rate: bool = False
    keep_symbols: Annotated[tuple[str, ...] | None, BeforeValidator(_symbols)] = None
    spot_include: Annotated[tuple[str, ...], BeforeValidator(_symbols)] = ()
    spot_exclude: Annotated[tuple[str, ...], BeforeValidator(_symbols)] = ()
    http_timeout_sec: Seconds = Field(default=5.0, ge=0.1, le=600)
    candle_close_timeout_sec: Seconds = Field(default=15.0, ge=0, le=40)
    rest_settle_sec: Seconds = Field(default=15.0, ge=0, le=40)
    num_rest_fetchers: Whole = Field(default=8, ge=1, le=64)
    num_socket_listeners: Whole = Field(default=8, ge=1, le=64)
    rest_url: str | None = None
    ws_url: str | None = None
    spot_rest_url: str | None = None
    spot_ws_url: str | None = None
    usdt_futures_rest_url: str | None = None
    usdt_futures_ws_url: str | None = None
    coin_futures_rest_url: str | None = None
    coin_futures_ws_url: str | None = None
    proxy: str | None = None
    periods: Whole | None = Field(default=None, ge=1)
    log_format: Literal["text", "json"] = "text"
    timezone: Annotated[InstanceOf[tzinfo] | None, BeforeValidator(_zone)] = None
    dingding: Annotated[dict[str, Robot] | None, BeforeValidator(_from_json)] = None
    alerts: Annotated[tuple[SecretStr, ...], BeforeValidator(_alerts)] = ()
    metrics_port: Whole | None = Field(default=None, ge=1, le=65535)
    metrics_host: str = Field(default="127.0.0.1", pattern=r"^[\w.:-]+$")
    msg_sender: Annotated[MessageSender | None, BeforeValidator(_from_json)] = None
    save_type: Literal["parquet", "feather"] | None = None
    export_dir: Path | None = None
    layout: Literal["bmac"] = "bmac"
    clock_rate: Seconds = Field(default=1.0, gt=0)
    warnings: tuple[str, ...] = ()

    @field_validator("keep")
    @classmethod
    def _keeps_the_window(cls, keep: int | None, info: ValidationInfo) -> int | None:
        least = info.data.get("num_candles", 1)
        if keep is not None and keep < least:
            raise ValueError(f"{keep} is less than num_candles, which readers rely on. The nearest is {least}")
        return keep

    @field_validator("rest_url", *(f"{market}_rest_url" for market in Market))
    @classmethod
    def _http_address(cls, value: str | None) -> str | None:
        return _address(value, ("http", "https"))

    @field_validator("ws_url", *(f"{market}_ws_url" for market in Market))
    @classmethod
    def _websocket_address(cls, value: str | None) -> str | None:
        return _address(value, ("ws", "wss"))

    @field_validator("proxy")
    @classmethod
    def _proxy_address(cls, value: str | None) -> str | None:
        return _address(value, _PROXIES, path=False)

    @field_validator("spot_exclude")
    @classmethod
    def _not_both(cls, exclude: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if both := sorted(set(exclude).intersection(info.data.get("spot_include", ()))):
            raise ValueError(f"{', '.join(both)} stands in spot_include as well. Leave it out of one of them")
        return exclude

    @property
    def spot_assets(self) -> SpotAssets:
        return SpotAssets(frozenset(self.spot_include), frozenset(self.spot_exclude))

    def addresses(self, market: Market) -> tuple[str | None, str | None]:
        """The REST and the websocket address that are given for a market alone."""
        return getattr(self, f"{market}_rest_url"), getattr(self, f"{market}_ws_url")

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        return [
            (name, mask_url(value) if name.endswith(("_url", "proxy")) and isinstance(value, str) else value)
            for name, value in self
        ]

    def shown(self) -> tuple[tuple[str, str], ...]:
        """The settings as a user may see them: the core ones, then those that differ from their defaults."""
        if len(self.feeds) == 1:
            core = [("interval", self.feeds[0].interval.name), ("type", self.feeds[0].trade_type)]
        else:
            core = [("feeds", ", ".join(feed.name for feed in self.feeds))]
        keep_symbols = "None" if self.keep_symbols is None else ",".join(self.keep_symbols)
        core += [("num_candles", str(self.num_candles)), ("funding_rate", str(self.funding_rate))]
        core.append(("keep_symbols", keep_symbols))
        told = {"db", "feeds", "num_candles", "funding_rate", "keep_symbols", "save_type", "warnings"}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if name in told or value == field.default:
                continue
            if name in SECRET:
                core.append((name, "***"))
            elif name.startswith("spot_") and isinstance(value, tuple):
                core.append((name, ",".join(value)))
            elif name == "resample":
                core.append((name, ", ".join(one.name for one in self.resample)))
            elif isinstance(value, float):
                core.append((name, f"{value:g}"))
            else:
                core.append((name, mask_url(str(value))))
        return tuple(core)
