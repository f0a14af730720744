"""The settings as one frozen object: what each may be, and how a user sees them. Secrets are kept and never shown."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import zmq
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

__all__ = [
    "CHOICES",
    "DATABASE_NAME",
    "OPTIONS",
    "SECRET",
    "MessageSender",
    "Option",
    "Robot",
    "Settings",
    "shown_default",
    "time_zone",
]

DATABASE_NAME = "bmac.duckdb"


@dataclass(frozen=True, slots=True)
class Option:
    """How one setting is given, shown and refused. It stands in the annotation of its field in `Settings`."""

    group: str
    metavar: str
    help: str
    expected: str
    """For error messages: `'x' is not {expected}`."""
    default: str = ""
    """The default as help shows it, where the value of the field does not say it."""
    repeat: bool = False
    secret: bool = False
    hidden: bool = False


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


def _curve_key(value: object) -> object:
    """A secret key of CURVE, or what @FILE holds; never shown, not even where it is wrong."""
    if not isinstance(value, str):
        return value
    key = _content(value).strip()
    try:
        zmq.curve_public(key.encode())
    except (ValueError, zmq.ZMQError):
        raise ValueError(
            "is no secret key of CURVE, which has 40 characters. docs/stream.md says how to make one"
        ) from None
    return SecretStr(key)


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


_MARKET, _DATABASE, _REQUESTS, _ADDRESSES = "What to record", "Database", "Connections", "Addresses"
_ALERTS, _FILES, _RUNNING = "Alerts and metrics", "The predecessor's files", "Running"
_ASSETS = "a list of assets, like FDUSD, USD1"


def _rest_of(market: Market) -> Option:
    expected = f"an address like https://host:port, of {market} alone"
    return Option(_ADDRESSES, "URL", f"--rest-url for {market} alone.", expected, "as --rest-url")


def _ws_of(market: Market) -> Option:
    expected = f"an address like wss://host:port, of {market} alone"
    return Option(_ADDRESSES, "URL", f"--ws-url for {market} alone.", expected, "as --ws-url")


class Settings(BaseModel):
    """All that the recorder needs to know, checked."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    feeds: Annotated[
        tuple[InstanceOf[Feed], ...],
        BeforeValidator(_feeds),
        Option(
            _MARKET,
            "NAME",
            "A trade type at an interval, as usdt_perp_5m; may repeat.",
            "feeds like usdt_perp_5m, in place of interval and trade_type",
            repeat=True,
        ),
    ] = Field(min_length=1)
    num_candles: Annotated[
        Whole,
        Option(
            _MARKET, "N", "Candles guaranteed before the first run time, 1 to 10000.", "a whole number from 1 to 10000"
        ),
    ] = Field(default=1500, ge=1, le=10_000)
    resample: Annotated[
        tuple[InstanceOf[Resampling], ...],
        BeforeValidator(_resamplings),
        Option(
            _MARKET,
            "NAME",
            "Also make 1h (or usdt_perp_5m->1h) candles at every offset; may repeat.",
            "a list of longer intervals, like 1h or usdt_perp_5m -> 1h",
            "none",
            repeat=True,
        ),
    ] = ()
    funding_rate: Annotated[bool, Option(_MARKET, "", "Record funding rates.", "true or false", "no")] = False
    keep_symbols: Annotated[
        tuple[str, ...] | None,
        BeforeValidator(_symbols),
        Option(
            _MARKET,
            "NAMES",
            "Only these, as BTCUSDT,ETHUSDT; may repeat.",
            "a list of symbols, like BTCUSDT, ETHUSDT",
            "all",
            repeat=True,
        ),
    ] = None
    spot_include: Annotated[
        tuple[str, ...],
        BeforeValidator(_symbols),
        Option(
            _MARKET,
            "ASSETS",
            "Record these on spot, even stablecoins and leveraged tokens; may repeat.",
            _ASSETS,
            "none",
            repeat=True,
        ),
    ] = ()
    spot_exclude: Annotated[
        tuple[str, ...],
        BeforeValidator(_symbols),
        Option(
            _MARKET, "ASSETS", "Leave these base assets out of spot feeds; may repeat.", _ASSETS, "none", repeat=True
        ),
    ] = ()
    db: Annotated[
        Path, Option(_DATABASE, "FILE", "The database.", "the path of the database file", f"{DATABASE_NAME} in DIR")
    ] = Path(DATABASE_NAME)
    keep: Annotated[
        Whole | None,
        Option(
            _DATABASE,
            "N",
            "Keep only the last N candles of each symbol.",
            "a whole number, num_candles or more",
            "everything",
        ),
    ] = Field(default=None, ge=1)
    http_timeout_sec: Annotated[
        Seconds, Option(_REQUESTS, "SECONDS", "Time limit of one REST request.", "seconds, from 0.1 to 600")
    ] = Field(default=5.0, ge=0.1, le=600)
    candle_close_timeout_sec: Annotated[
        Seconds,
        Option(_REQUESTS, "SECONDS", "Wait so long for candles, then ask REST.", "seconds, from 0 to 40"),
    ] = Field(default=15.0, ge=0, le=40)
    rest_settle_sec: Annotated[
        Seconds,
        Option(
            _REQUESTS,
            "SECONDS",
            "REST may still change a candle younger than this: it is recorded as provisional.",
            "seconds, from 0 to 40",
        ),
    ] = Field(default=15.0, ge=0, le=40)
    num_rest_fetchers: Annotated[
        Whole, Option(_REQUESTS, "N", "REST requests at the same time.", "a whole number from 1 to 64")
    ] = Field(default=8, ge=1, le=64)
    num_socket_listeners: Annotated[
        Whole, Option(_REQUESTS, "N", "Websocket connections of a feed.", "a whole number from 1 to 64")
    ] = Field(default=8, ge=1, le=64)
    rest_url: Annotated[
        str | None,
        Option(
            _ADDRESSES,
            "URL",
            "In place of the exchange's REST addresses.",
            "an address like https://host:port or https://host/path",
            "the exchange",
        ),
    ] = None
    ws_url: Annotated[
        str | None,
        Option(
            _ADDRESSES,
            "URL",
            "In place of its websocket addresses.",
            "an address like wss://host:port or wss://host/path",
            "the exchange",
        ),
    ] = None
    spot_rest_url: Annotated[str | None, _rest_of(Market.SPOT)] = None
    spot_ws_url: Annotated[str | None, _ws_of(Market.SPOT)] = None
    usdt_futures_rest_url: Annotated[str | None, _rest_of(Market.USDT_FUTURES)] = None
    usdt_futures_ws_url: Annotated[str | None, _ws_of(Market.USDT_FUTURES)] = None
    coin_futures_rest_url: Annotated[str | None, _rest_of(Market.COIN_FUTURES)] = None
    coin_futures_ws_url: Annotated[str | None, _ws_of(Market.COIN_FUTURES)] = None
    proxy: Annotated[
        str | None,
        Option(
            _ADDRESSES,
            "URL",
            "An HTTP or SOCKS proxy.",
            "an address like http://host:port or socks5h://host:port",
            "HTTPS_PROXY, ALL_PROXY",
        ),
    ] = None
    alerts: Annotated[
        tuple[SecretStr, ...],
        BeforeValidator(_alerts),
        Option(
            _ALERTS,
            "@FILE",
            "Send alerts to the apprise URLs in a file, one a line.",
            "a list of apprise URLs, like dingtalk://SECRET@TOKEN/ or tgram://TOKEN/CHAT",
            "none",
            secret=True,
        ),
    ] = ()
    dingding: Annotated[
        dict[str, Robot] | None,
        BeforeValidator(_from_json),
        Option(
            _ALERTS,
            "@FILE",
            "The predecessor's DingTalk robots, as JSON in a file.",
            'a table like {"error": {"access_token": "…", "secret": "…"}}',
            "none",
            secret=True,
        ),
    ] = None
    msg_sender: Annotated[
        MessageSender | None,
        BeforeValidator(_from_json),
        Option(
            _ALERTS,
            "@FILE",
            "The same, in the predecessor's other form.",
            'a table like {"type": "dingding", "error": {"access_token": "…", "secret": "…"}}',
            "none",
            secret=True,
        ),
    ] = None
    metrics_port: Annotated[
        Whole | None,
        Option(_ALERTS, "PORT", "Serve metrics for Prometheus on this port.", "a port from 1 to 65535", "none"),
    ] = Field(default=None, ge=1, le=65535)
    metrics_host: Annotated[
        str, Option(_ALERTS, "ADDRESS", "Serve them on this address.", "an address of this machine, like 127.0.0.1")
    ] = Field(default="127.0.0.1", pattern=r"^[\w.:-]+$")
    publish_key: Annotated[
        InstanceOf[SecretStr] | None,
        BeforeValidator(_curve_key),
        Option(
            _ADDRESSES,
            "@FILE",
            "The secret CURVE key for --publish, in a file.",
            "the secret key of a CURVE pair, like @publish.key",
            "none",
            secret=True,
        ),
    ] = None
    publish: Annotated[
        str | None,
        Option(
            _ADDRESSES,
            "ADDRESS",
            "Publish the stream here too, as tcp://192.168.1.5:9800; beyond this machine with --publish-key alone.",
            "an address of this machine like tcp://192.168.1.5:9800",
            "none",
        ),
    ] = None
    export_dir: Annotated[
        Path | None,
        Option(
            _FILES,
            "DIR",
            "Keep the predecessor's files up to date there.",
            "a directory for files in the predecessor's layout",
            "none",
        ),
    ] = None
    layout: Annotated[Literal["bmac"], Option(_FILES, "NAME", "Layout of these files: bmac.", "bmac")] = "bmac"
    save_type: Annotated[
        Literal["parquet", "feather"] | None,
        Option(_FILES, "NAME", "Format of these files: parquet or feather.", "parquet or feather", "parquet"),
    ] = None
    periods: Annotated[
        Whole | None,
        Option(_RUNNING, "N", "Stop after N complete run times.", "a whole number, 1 or more", "never"),
    ] = Field(default=None, ge=1)
    log_format: Annotated[
        Literal["text", "json"], Option(_RUNNING, "NAME", "text for people, json for programs.", "text or json")
    ] = "text"
    timezone: Annotated[
        InstanceOf[tzinfo] | None,
        BeforeValidator(_zone),
        Option(
            _RUNNING,
            "ZONE",
            "Of printed times, as Asia/Shanghai.",
            "the name of a time zone, like Asia/Shanghai or UTC",
            "the machine's",
        ),
    ] = None
    clock_rate: Annotated[
        Seconds, Option(_RUNNING, "N", "Speed of the stand-in exchange's clock.", "a number above 0", hidden=True)
    ] = Field(default=1.0, gt=0)
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

    @field_validator("publish")
    @classmethod
    def _publishes_with_keys(cls, value: str | None, info: ValidationInfo) -> str | None:
        address = _address(value, ("tcp",), path=False)
        if address is None:
            return None
        parts = urlsplit(address)
        if parts.port is None:
            raise ValueError(f"{address!r} has no port. Did you mean {address}:9800?")
        loopback = parts.hostname == "::1" or str(parts.hostname).startswith("127.")
        if not loopback and info.data.get("publish_key", True) is None:
            raise ValueError(
                f"{address!r} can be reached from other machines, for which publish_key is needed. docs/stream.md says "
                "how to make one"
            )
        return address

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


def _option(name: str) -> Option:
    return next(found for found in Settings.model_fields[name].metadata if isinstance(found, Option))


OPTIONS: dict[str, Option] = {
    # These two name one feed. They are checked first, and become `feeds`.
    "interval": Option(
        _MARKET,
        "NAME",
        "With --trade-type, for one feed: 1s (spot only), 1m, 5m, 1h … 1d, 3d, 1w, 1M.",
        "an interval of the exchange, as 1m, 5m, 1h or 1d",
    ),
    "trade_type": Option(
        _MARKET,
        "NAME",
        "usdt_spot, usdt_perp, usdt_deli, coin_perp, coin_deli …",
        "a trade type, as usdt_perp or usdt_deli",
    ),
    **{name: _option(name) for name in Settings.model_fields if name != "warnings"},
}
"""Every setting by name, in the order of `bmacdb run --help`."""

SECRET = frozenset(name for name, option in OPTIONS.items() if option.secret)


def _choices(annotation: object) -> tuple[str, ...]:
    """The words that a setting of this type takes; () where there are too many to list."""
    if annotation is bool:
        return ("true", "false")
    words = (part for one in (annotation, *get_args(annotation)) for part in get_args(one))
    return tuple(word for word in words if isinstance(word, str))


CHOICES = {name: found for name, field in Settings.model_fields.items() if (found := _choices(field.annotation))}


def shown_default(name: str) -> str:
    """The default of a setting as help shows it; '' for feeds, interval and trade_type, which have none."""
    if (text := OPTIONS[name].default) or name in ("feeds", "interval", "trade_type"):
        return text
    value = Settings.model_fields[name].default
    return f"{value:g}" if isinstance(value, float) else str(value)
