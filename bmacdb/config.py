"""Loading settings: sources merged, checked whole before anything is touched, every mistake told with its place.

The later wins: defaults, the file in DIR (`bmacdb.toml`, or the predecessor's `config.json`), environment variables
`BMACDB_*`, flags.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # missing in typeshed

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from bmacdb.errors import ConfigError, UsageError, did_you_mean
from bmacdb.model import Feed, Market
from bmacdb.settings import CHOICES, DATABASE_NAME, OPTIONS, SECRET, MessageSender, Robot, Settings
from bmacdb.sources import Given, Level, mask_url, read_environment, read_file, read_flags, unknown_names
from bmacdb.symbols import make_feed, parse_feed

__all__ = ["DATABASE_NAME", "OPTIONS", "MessageSender", "Robot", "Settings", "environment_proxy", "load_settings"]

_BOOLEAN_WORDS = {"true": "true", "yes": "true", "on": "true", "1": "true"}
_BOOLEAN_WORDS |= {"false": "false", "no": "false", "off": "false", "0": "false"}
_ADDRESSES = ("rest_url", "ws_url")
_OTHER_TABLES = frozenset({"factors"})  # of the same file, read by other commands


def _describe(error: ErrorDetails, given: Given) -> ConfigError:
    """One error of pydantic in our words: the value, what was expected, the nearest valid one."""
    name = str(error["loc"][0])
    context = error.get("ctx", {})
    if error["type"] == "value_error":
        text = str(context["error"])
        return ConfigError(given.place, text if text.endswith(("?", ".")) else text + ".")
    if name in SECRET:
        inside = ".".join(str(part) for part in error["loc"][1:])
        what = "there is no such key" if error["type"] == "extra_forbidden" else "cannot be used"
        return ConfigError(
            f"{given.place}.{inside}" if inside else given.place, f"{what}; expected {OPTIONS[name].expected}"
        )
    nearest = next((context[bound] for bound in ("ge", "le") if bound in context), None)
    hint = f" The nearest is {nearest:g}." if nearest is not None else ""
    if name in CHOICES:
        hint = did_you_mean(str(given.value), CHOICES[name])
    shown = mask_url(given.value) if isinstance(given.value, str) else given.value
    return ConfigError(given.place, f"{shown!r} is not {OPTIONS[name].expected}.{hint}")


def _file_type(annotation: Any) -> type | None:
    """How a setting of this type is written in TOML and JSON: bool, float (any number), list, dict or str."""
    origin = get_origin(annotation) or annotation
    if origin is Annotated:
        return _file_type(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return _file_type(next(part for part in get_args(annotation) if part is not NoneType))
    if origin in (int, float):
        return float
    if origin is Literal or not isinstance(origin, type):
        return str
    if issubclass(origin, BaseModel | dict):
        return dict
    return {bool: bool, tuple: list}.get(origin, str)


def _wrong_types(level: Level) -> list[UsageError]:
    """An error for each value of a file that is of another type than its setting, with the right way to write it.

    The environment and flags have text alone, which stands for every type; in a file it would hide a slip.
    """
    errors: list[UsageError] = []
    for name, given in level.items():
        field = Settings.model_fields.get(name)
        if field is None or name not in OPTIONS:
            continue
        value, wanted = given.value, _file_type(field.annotation)
        found = float if type(value) is int else type(value)
        if (found is wanted and value != "") or (name in SECRET and isinstance(value, str) and value.startswith("@")):
            continue
        if name in SECRET:
            errors.append(ConfigError(given.place, f"cannot be used; expected {OPTIONS[name].expected}"))
        else:
            shown = mask_url(value) if isinstance(value, str) else value
            hint = _rewritten(value, wanted) or did_you_mean(str(value), CHOICES.get(name, ()))
            errors.append(ConfigError(given.place, f"{shown!r} is not {OPTIONS[name].expected}.{hint}"))
    return errors


def _rewritten(value: object, wanted: type | None) -> str:
    """The value as it should have been written; '' where that cannot be told."""
    if not isinstance(value, str | int):
        return ""
    text = str(value).strip()
    if wanted is list and isinstance(value, str) and text:
        return f" Write {json.dumps([part.strip() for part in text.split(',')], ensure_ascii=False)}."
    if wanted is bool and text.lower() in _BOOLEAN_WORDS:
        return f" Write {_BOOLEAN_WORDS[text.lower()]}, without quotes."
    if wanted is float and text.replace(".", "", 1).isdecimal():
        return f" Write {text}, without quotes."
    return ""


def _choose_feeds(levels: list[Level], file_place: str | None) -> tuple[Given | None, list[UsageError], list[str]]:
    """The feeds of the highest source that names any, as one value; errors; warnings."""
    merged: Level = {name: given for level in levels for name, given in level.items()}
    top = next((level for level in reversed(levels) if {"feeds", "interval", "trade_type"} & level.keys()), {})
    pair = [name for name in ("interval", "trade_type") if name in top]
    if "feeds" in top:
        given = top["feeds"]
        if pair:
            both = " and ".join(top[name].place for name in pair)
            return None, [ConfigError(given.place, f"stands in place of {both}. Leave one of them out.")], []
        return given, [], _doubles(given)
    missing = [name for name in ("interval", "trade_type") if name not in merged]
    if missing:
        example = {"interval": "1m", "trade_type": "usdt_perp"}
        if not pair:
            where = f"write them into {file_place}" if file_place else "write them into DIR/bmacdb.toml"
            text = f"nothing to record: give --interval 1m --trade-type usdt_perp, or --feed usdt_perp_1m, or {where}."
        else:
            flag = "--" + missing[0].replace("_", "-")
            text = f"{missing[0]} is missing beside {top[pair[0]].place}: add {flag} {example[missing[0]]}."
        return None, [UsageError(text)], []
    interval, trade_type = merged["interval"], merged["trade_type"]
    errors: list[UsageError] = []
    # Tried apart with a value that goes with everything, so that both mistakes are told at once.
    for given, attempt in ((trade_type, (trade_type.value, "1m")), (interval, ("usdt_spot", interval.value))):
        if not isinstance(given.value, str):
            name = "interval" if given is interval else "trade_type"
            errors.append(ConfigError(given.place, f"{given.value!r} is not {OPTIONS[name].expected}."))
            continue
        try:
            make_feed(str(attempt[0]), str(attempt[1]))
        except UsageError as exc:
            errors.append(ConfigError(given.place, str(exc)))
    if not errors:
        try:
            return Given((make_feed(str(trade_type.value), str(interval.value)),), interval.place), [], []
        except UsageError as exc:
            errors.append(ConfigError(interval.place, str(exc)))
    return None, errors, []


def _doubles(given: Given) -> list[str]:
    """Warnings for feeds that are given twice, perhaps under two names."""
    parts = given.value if isinstance(given.value, list | tuple) else [given.value]
    names: dict[str, list[str]] = {}
    for part in ",".join(str(part) for part in parts).split(","):
        try:
            names.setdefault(parse_feed(part.strip()).name, []).append(part.strip())
        except UsageError:
            continue  # told by the validation of the whole
    return [
        f"{given.place}: {', '.join(alike)} are one feed, recorded once as {name}."
        for name, alike in names.items()
        if len(alike) > 1
    ]


def _of_markets(level: Level, file_place: str | None) -> list[UsageError]:
    """Give `[exchange.spot] rest_url = …` and the like in `level` the names that they have elsewhere, `spot_rest_url`.

    Returns an error for each part of `exchange` that cannot be.
    """
    table = level.pop("exchange", None)
    if table is None:
        return []
    if not isinstance(table.value, dict):
        return [ConfigError(table.place, "is a table of markets, like [exchange.spot] with rest_url and ws_url.")]
    errors: list[UsageError] = []
    for market, urls in table.value.items():
        place = f"{file_place}: exchange.{market}"
        if market not in list(Market):
            hint = did_you_mean(market, Market)
            errors.append(ConfigError(place, f"there is no such market; there are {', '.join(Market)}.{hint}"))
        elif not isinstance(urls, dict):
            errors.append(ConfigError(place, "is a table with rest_url and ws_url."))
        else:
            for name, url in urls.items():
                if name in _ADDRESSES:
                    level[f"{market}_{name}"] = Given(url, f"{place}.{name}")
                else:
                    errors.append(
                        ConfigError(f"{place}.{name}", f"there is no such setting.{did_you_mean(name, _ADDRESSES)}")
                    )
    return errors


def environment_proxy(environ: Mapping[str, str], addresses: list[str]) -> Given | None:
    """HTTPS_PROXY, else ALL_PROXY, unless what is talked to is excepted by NO_PROXY or is this machine."""
    hosts = [urlsplit(address).hostname or "" for address in addresses] or ["fapi.binance.com"]
    lower = {name.lower(): value for name, value in environ.items()}
    rules = {"no": lower.get("no_proxy", "")}
    if any(host in ("localhost", "127.0.0.1", "::1") or proxy_bypass_environment(host, rules) for host in hosts):
        return None
    for name in ("https_proxy", "all_proxy"):
        if value := lower.get(name, "").strip():
            return Given(value if "://" in value else f"http://{value}", f"environment {name.upper()}")
    return None


def _without_meaning(values: dict[str, object], settings_of: Level, feeds: tuple[Feed, ...]) -> list[str]:
    """Switches off what cannot apply and tells so."""
    warnings = []
    spot = [feed.name for feed in feeds if feed.market is Market.SPOT]
    if values.get("funding_rate") and spot:
        place = settings_of["funding_rate"].place
        if len(spot) == len(feeds):
            values["funding_rate"] = False
            warnings.append(f"{place}: spot has no funding rates; recording goes on without them.")
        else:
            warnings.append(f"{place}: {', '.join(spot)} has none; recorded for the other feeds.")
    if "save_type" in values and "export_dir" not in values:
        place = settings_of["save_type"].place
        warnings.append(f"{place}: has no meaning without export_dir: everything goes into one DuckDB file.")
    return warnings


def load_settings(
    directory: Path | None = None,
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    instead: tuple[str, ...] = (),
) -> Settings:
    """The settings from DIR (the working directory when None), the environment and flags (by setting name).

    `instead` are feeds for commands that work without one, taken where no source names any.

    Raises ConfigError or UsageError naming the place, the value, what was expected and the nearest valid one;
    several mistakes are told at once. Nothing is created or changed.
    """
    environ = os.environ if environ is None else environ
    home = directory or Path()
    if not home.is_dir():
        remedy = "it is a file; name the directory it is in" if home.exists() else "create it first"
        raise UsageError(f"directory {home} cannot be used: {remedy}.")
    file_place, from_file, file_warnings = read_file(home, tables=_OTHER_TABLES)
    table_errors = _of_markets(from_file, file_place)
    from_environment, environment_warnings = read_environment(environ, OPTIONS)
    levels = [from_file, from_environment, read_flags(flags or {})]
    if instead and not any({"feeds", "interval", "trade_type"} & level.keys() for level in levels):
        levels.insert(0, {"feeds": Given(instead, "no feed is named")})
    merged: Level = {name: given for level in levels for name, given in level.items()}

    errors: list[UsageError] = [*table_errors, *unknown_names(from_file, OPTIONS), *_wrong_types(from_file)]
    feeds, feed_errors, feed_warnings = _choose_feeds(levels, file_place)
    errors += feed_errors
    given = {name: value for name, value in merged.items() if name in OPTIONS}
    for name in ("feeds", "interval", "trade_type"):
        given.pop(name, None)
    if feeds is not None:
        given["feeds"] = feeds
    if "proxy" not in given:
        addresses = [str(given[name].value) for name in _ADDRESSES if name in given]
        if proxy := environment_proxy(environ, addresses):
            given["proxy"] = proxy
    if "db" in given and isinstance(given["db"].value, str | Path):
        base = home if given["db"] is from_file.get("db") else Path()
        given["db"] = Given(base / Path(given["db"].value).expanduser(), given["db"].place)

    if "export_dir" in given and isinstance(given["export_dir"].value, str):
        base = home if given["export_dir"] is from_file.get("export_dir") else Path()
        given["export_dir"] = Given(base / Path(given["export_dir"].value).expanduser(), given["export_dir"].place)

    values = {name: item.value for name, item in given.items()}
    values.setdefault("db", home / DATABASE_NAME)
    try:
        checked = Settings.model_validate(values)
    except ValidationError as exc:
        for error in exc.errors(include_url=False, include_input=False):
            name = str(error["loc"][0])
            if name in given and not any(given[name].place == getattr(e, "place", "") for e in errors):
                errors.append(_describe(error, given[name]))
        checked = None
    if checked is not None and (problem := _database_problem(checked.db)):
        errors.append(ConfigError(given["db"].place if "db" in given else str(checked.db), problem))
    if checked is None or errors:
        raise _all_of(errors)
    values["feeds"] = checked.feeds
    values["funding_rate"] = checked.funding_rate
    warnings = [*file_warnings, *environment_warnings, *feed_warnings]
    warnings += _without_meaning(values, given, checked.feeds)
    return checked.model_copy(update={"funding_rate": values["funding_rate"], "warnings": tuple(warnings)})


def _database_problem(path: Path) -> str | None:
    if path.is_dir():
        return f"{path} is a directory. Name a file, as {path / DATABASE_NAME}."
    if not path.parent.is_dir():
        return f"directory {path.parent} does not exist. Create it first."
    return None


def _all_of(errors: list[UsageError]) -> UsageError:
    if len(errors) == 1:
        return errors[0]
    return UsageError("\n".join([f"{len(errors)} settings cannot be used:", *(f"  {error}" for error in errors)]))
