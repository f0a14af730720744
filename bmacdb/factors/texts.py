"""The library's files, and the table macros that a process of its own makes of them. No parser is imported here."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from bmacdb.errors import StoreError
from bmacdb.interval import Interval
from bmacdb.model import Feed

__all__ = ["SCHEMA", "STEP", "Template", "factor_texts", "length", "made_elsewhere", "version_of", "written"]

SCHEMA, STEP = "$schema", "$step"
"""In a template: the name of a feed, and the length of its bars as a SQL literal."""

Template = tuple[str, str]
"""A statement. (text, ""): once. ("", text): once for each feed. (head, text): the head, and the union of the texts of
all feeds."""

_MOST_KEPT = 8
"""Answers of `made_elsewhere`, each some 300 kB."""


def factor_texts(folder: Path | None = None) -> dict[str, str]:
    """The library's files, by the name of the factor; of a name that `folder` has too, that one."""
    texts = {
        place.name.removesuffix(".sql"): place.read_text(encoding="utf-8")
        for place in (files("bmacdb") / "factor").iterdir()
        if place.name.endswith(".sql")
    }
    for path in folder.glob("*.sql") if folder is not None and folder.is_dir() else ():
        texts[path.stem] = path.read_text(encoding="utf-8", errors="replace")
    return dict(sorted(texts.items()))


def version_of(texts: Mapping[str, str], more: Iterable[str]) -> str:
    """A short text that changes whenever these factors, the code that lays them out, or one of `more` do."""
    engine = sorted(files("bmacdb").joinpath("factors").iterdir(), key=lambda place: place.name)
    code = [place.read_text(encoding="utf-8") for place in engine if place.name.endswith((".py", ".sql"))]
    known = [*code, *more, *(part for item in texts.items() for part in item)]
    return hashlib.sha256("\0".join(known).encode()).hexdigest()[:16]


def made_elsewhere(texts: Mapping[str, str]) -> tuple[list[Template], list[str]]:
    """`bmacdb.factors.macros.macros`, by a process of its own: a recorder keeps no parser (50 MB).

    The answer takes some seconds of processor time, and is kept in the user's cache folder for the next new database.
    Raises StoreError when the process fails.
    """
    kept = _kept(version_of(texts, ()))
    if kept is not None:
        with contextlib.suppress(OSError, ValueError):
            return _read(kept.read_text(encoding="utf-8"))
    answer = _answer(texts)
    if kept is not None:
        with contextlib.suppress(OSError):  # a cache alone: a read-only home is no matter
            _keep(kept, answer)
    return _read(answer)


def written(templates: Iterable[Template], feeds: Sequence[Feed]) -> list[str]:
    """The statements for these feeds, in the order of the templates."""
    statements = []
    for head, text in templates:
        parts = [text.replace(SCHEMA, feed.name).replace(STEP, length(feed.interval)) for feed in feeds if text]
        statements += parts if not head else [head + "\nUNION ALL\n".join(parts)] if parts or not text else []
    return statements


def length(interval: Interval) -> str:
    """The length of a bar as a SQL literal."""
    return "INTERVAL 1 MONTH" if interval.name == "1M" else f"INTERVAL {interval.length_ms // 1000} SECOND"


def _read(answer: str) -> tuple[list[Template], list[str]]:
    made, told = json.loads(answer)
    return [(head, text) for head, text in made], told


def _answer(question: object) -> str:
    command = [sys.executable, "-P", "-m", "bmacdb.factors.macros"]
    try:
        done = subprocess.run(
            command, input=json.dumps(question).encode(), capture_output=True, check=True, timeout=300
        )
    except subprocess.CalledProcessError as error:
        last = error.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise StoreError(f"the process that writes them ended with status {error.returncode}: {last}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StoreError(f"the process that writes them cannot run: {error}") from error
    return done.stdout.decode()


def _kept(version: str) -> Path | None:
    """The file of that answer in the user's cache folder; None where there is no such folder."""
    folder = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    try:
        return Path(folder or Path.home() / ".cache") / "bmacdb" / f"macros-{version}.json"
    except RuntimeError:  # a user without a home
        return None


def _keep(path: Path, answer: str) -> None:
    """Write it whole or not at all, and let go of all but the newest."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    unfinished.write_text(answer, encoding="utf-8")
    unfinished.replace(path)
    others = sorted(path.parent.glob("macros-*.json"), key=lambda place: place.stat().st_mtime)
    for old in others[:-_MOST_KEPT]:
        old.unlink(missing_ok=True)
