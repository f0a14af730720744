"""Where settings come from, before anything is known of their meaning: a file, the environment, flags.

Every value keeps its place (`bmacdb.toml, line 3: num_candles`), so that an error can name it.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bmacdb.errors import ConfigError, did_you_mean

__all__ = [
    "FILE_NAMES",
    "Given",
    "Level",
    "flag_of",
    "mask_url",
    "read_environment",
    "read_file",
    "read_flags",
    "unknown_names",
]

FILE_NAMES = ("bmacdb.toml", "config.json")
"""Looked for in DIR, in this order; the second is the predecessor's."""

PREFIX = "BMACDB_"


@dataclass(frozen=True, slots=True)
class Given:
    """A value as it was given, and where."""

    value: object
    place: str


Level = dict[str, Given]
"""All that one source gives, by the name of the setting."""


def mask_url(url: str) -> str:
    """The address without the name and password that may stand in it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "***"
    if "@" in parts.netloc:
        return parts._replace(netloc="***@" + parts.netloc.rpartition("@")[2]).geturl()
    return "***" if "@" in url else url  # a password in an address that does not parse as one


def _line_of(text: str, name: str) -> int | None:
    """The line where a key stands; None when it cannot be told cheaply."""
    key = re.escape(name)
    pattern = rf"^[ \t]*(?:\[+[ \t]*)?(?:\"{key}\"|'{key}'|{key})[ \t]*[=.\]]|[{{,\s]\"{key}\"\s*:"
    found = [match.end() for match in re.finditer(pattern, text, re.MULTILINE)]
    return text.count("\n", 0, found[0]) + 1 if len(found) == 1 else None


def _parse_toml(place: str, text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        where = re.search(r"\(at line (\d+), column (\d+)\)", str(exc))
        problem = str(exc).partition(" (at ")[0]
        spot = f"line {where[1]}, column {where[2]}" if where else "at the end"
        raise ConfigError(f"{place}, {spot}", f"this is not TOML: {problem}") from exc


def _no_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    known: dict[str, object] = {}
    for name, value in pairs:
        if name in known:
            raise KeyError(name)
        known[name] = value
    return known


def _parse_json(place: str, text: str) -> dict[str, object]:
    try:
        parsed = json.loads(text, object_pairs_hook=_no_doubles)
    except json.JSONDecodeError as exc:
        raise ConfigError(f"{place}, line {exc.lineno}, column {exc.colno}", f"this is not JSON: {exc.msg}") from exc
    except KeyError as exc:
        raise ConfigError(f"{place}: {exc.args[0]}", "stands there twice; leave one of them") from exc
    if not isinstance(parsed, dict):
        raise ConfigError(place, 'an object is wanted, like {"interval": "1m", "trade_type": "usdt_deli"}')
    return parsed


def read_file(directory: Path, *, tables: Collection[str]) -> tuple[str | None, Level, tuple[str, ...]]:
    """The settings file of a directory: its name (None: there is none), what it gives, and warnings.

    `tables` are top-level tables that belong to other commands and are left alone.
    Raises ConfigError with the place when the file cannot be read or parsed.
    """
    found = [directory / name for name in FILE_NAMES if (directory / name).is_file()]
    if not found:
        return None, {}, ()
    path, place = found[0], str(found[0])
    try:
        text = path.read_bytes().decode("utf-8-sig")  # Windows editors put a mark in front
    except OSError as exc:
        raise ConfigError(place, f"cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(place, f"is not UTF-8 text (byte {exc.start}); save it as UTF-8") from exc
    parsed = _parse_toml(place, text) if path.suffix == ".toml" else _parse_json(place, text)
    level = {}
    for name, value in parsed.items():
        if name in tables or value is None:
            continue
        line = _line_of(text, name)
        level[name] = Given(value, f"{place}, line {line}: {name}" if line else f"{place}: {name}")
    warnings = (f"{place} is used; {found[1].name} beside it is not read.",) if len(found) > 1 else ()
    return place, level, warnings


_OF_OTHERS = frozenset({"archive_url"})  # variables of commands that are not the recorder's


def read_environment(environ: Mapping[str, str], known: Collection[str]) -> tuple[Level, tuple[str, ...]]:
    """What `BMACDB_*` variables give, and warnings for those that name no setting. An empty one counts as unset."""
    level: Level = {}
    warnings = []
    for variable, value in environ.items():
        if not variable.upper().startswith(PREFIX) or not value.strip():
            continue
        name = variable[len(PREFIX) :].lower()
        if name in known:
            level[name] = Given(value.strip(), f"environment {variable}")
        elif name not in _OF_OTHERS and (
            hint := did_you_mean(name, known)
        ):  # others may use the prefix for their own purposes
            near = hint.removeprefix(" Did you mean ").rstrip("?")
            warnings.append(f"environment {variable} names no setting. Did you mean {PREFIX}{near.upper()}?")
    return level, tuple(warnings)


def flag_of(name: str) -> str:
    """The option of a setting: `--num-candles`. `--feed` names one feed and may repeat."""
    return "--feed" if name == "feeds" else "--" + name.replace("_", "-")


def read_flags(flags: Mapping[str, object]) -> Level:
    """What the command line gives; None and empty lists count as not given."""
    return {name: Given(value, flag_of(name)) for name, value in flags.items() if value not in (None, (), [])}


def unknown_names(level: Level, known: Collection[str]) -> list[ConfigError]:
    """An error for each name that is no setting."""
    return [
        ConfigError(given.place, f"there is no such setting.{did_you_mean(name, known)}")
        for name, given in level.items()
        if name not in known
    ]
