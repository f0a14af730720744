"""SQL files and their loader.

A file of queries holds named ones, each with a sentence of what it is for:

    -- latest: the newest open time of each symbol.
    SELECT …

A name is a plain identifier; the lines of comment behind it belong to the description. Files that are run whole
(`schema.sql`, `feed.sql`) are scripts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

__all__ = ["Query", "migrations", "parse", "queries", "script"]

_HEAD = re.compile(r"-- ([a-z][a-z0-9_]*): (.+)")
_MIGRATION = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


@dataclass(frozen=True, slots=True)
class Query:
    """A named query; `sql` binds its parameters as `$name`."""

    name: str
    description: str
    sql: str


def script(name: str) -> str:
    """The text of `sql/<name>.sql`."""
    return (files(__name__) / f"{name}.sql").read_text(encoding="utf-8")


@cache
def queries(name: str) -> Mapping[str, Query]:
    """The named queries of `sql/<name>.sql`, in their order."""
    return MappingProxyType(parse(script(name)))


def parse(text: str) -> dict[str, Query]:
    """The named queries of a file's text. Raises ValueError for a name given twice, or one without a query."""
    found: dict[str, Query] = {}
    name = ""
    described: list[str] = []
    lines: list[str] = []

    def finish() -> None:
        if not name:
            return
        sql = "\n".join(lines).strip().removesuffix(";")
        if name in found or not sql:
            raise ValueError(f"query {name!r} is there twice or has no text")
        found[name] = Query(name, " ".join(described), sql)

    for line in text.splitlines():
        if head := _HEAD.fullmatch(line):
            finish()
            name, described, lines = head[1], [head[2]], []
        elif name and not lines and line.startswith("-- "):
            described.append(line[3:])
        elif name:
            lines.append(line)
    finish()
    return found


def migrations() -> tuple[tuple[int, str], ...]:
    """(version, script) of each `sql/migrations/NNNN_what.sql`, oldest first: it brings a file of the version before to
    `version`."""
    folder = files(__name__) / "migrations"
    found = []
    for file in folder.iterdir() if folder.is_dir() else ():  # a wheel has no empty folders
        if match := _MIGRATION.fullmatch(file.name):
            found.append((int(match[1]), file.read_text(encoding="utf-8")))
    return tuple(sorted(found))
