"""Times of the command line: how users write them, and the one time zone in which an output prints them."""

from __future__ import annotations

import os
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Annotated

import typer

from bmacdb.clock import to_ms
from bmacdb.errors import ConfigError, UsageError

__all__ = ["Timezone", "parse_time", "printing_zone"]

Timezone = Annotated[
    str | None,
    typer.Option(
        "--timezone",
        metavar="ZONE",
        help="Of printed times, as Asia/Shanghai [default: BMACDB_TIMEZONE, bmacdb.toml, the machine's].",
    ),
]


def printing_zone(flag: str | None, directory: Path) -> tzinfo | None:
    """From the option, the environment or the configuration file in `directory`; None is the machine's zone.

    Raises ConfigError when it is no time zone, or the file cannot be read.
    """
    from bmacdb.settings import time_zone
    from bmacdb.sources import Given, read_file

    if flag is not None:
        given = Given(flag, "--timezone")
    elif named := os.environ.get("BMACDB_TIMEZONE"):
        given = Given(named, "environment BMACDB_TIMEZONE")
    elif (found := read_file(directory, tables=())[1].get("timezone")) is not None:
        given = found
    else:
        return None
    try:
        return time_zone(str(given.value))
    except ValueError as exc:
        raise ConfigError(given.place, str(exc)) from exc


def parse_time(option: str, text: str) -> int:
    """Milliseconds of an ISO time; without a zone it is UTC. Raises UsageError naming the option."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text!r} is not an ISO time, as 2024-08-03 or 2024-08-03T12:50:00Z is.") from None
    return to_ms(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
