"""The settings as one frozen object: what each may be, and how a user sees them. Secrets are kept and never shown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

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

from bmacdb.model import Feed, Market
from bmacdb.offset import Resampling
from bmacdb.setting_values import (
    PROXIES,
    MessageSender,
    Robot,
    Seconds,
    Whole,
    apprise_urls,
    checked_address,
    curve_key,
    from_json,
    parse_feeds,
    parse_resamplings,
    parse_zone,
    publish_address,
    symbol_names,
    time_zone,
)
from bmacdb.sources import mask_url
from bmacdb.symbols import SpotAssets

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
        BeforeValidator(parse_feeds),
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
        BeforeValidator(parse_resamplings),
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
        BeforeValidator(symbol_names),
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
        BeforeValidator(symbol_names),
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
        BeforeValidator(symbol_names),
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
        BeforeValidator(apprise_urls),
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
        BeforeValidator(from_json),
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
        BeforeValidator(from_json),
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
        BeforeValidator(curve_key),
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
        BeforeValidator(parse_zone),
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
        return checked_address(value, ("http", "https"))

    @field_validator("ws_url", *(f"{market}_ws_url" for market in Market))
    @classmethod
    def _websocket_address(cls, value: str | None) -> str | None:
        return checked_address(value, ("ws", "wss"))

    @field_validator("proxy")
    @classmethod
    def _proxy_address(cls, value: str | None) -> str | None:
        return checked_address(value, PROXIES, path=False)

    @field_validator("publish")
    @classmethod
    def _publishes_with_keys(cls, value: str | None, info: ValidationInfo) -> str | None:
        return publish_address(value, with_key=info.data.get("publish_key", True) is not None)

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
