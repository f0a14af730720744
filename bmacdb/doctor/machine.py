"""This machine: versions, extensions, memory, disk, the database and who holds it."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import duckdb
import psutil

from bmacdb import __version__
from bmacdb.doctor.finding import Finding, fail, ok, warn
from bmacdb.errors import FileHeld, StoreError
from bmacdb.recorder.disk import LOW_BYTES, free_bytes
from bmacdb.store import sidefile
from bmacdb.store.extensions import load_quack
from bmacdb.store.opening import check
from bmacdb.store.status import Watcher

__all__ = ["look_at_database", "look_at_machine"]

_NO_ROOM = 100_000_000  # bytes
_LITTLE_MEMORY = 300_000_000  # a recorder of a large market takes about 200 MB


def look_at_machine(database: Path) -> Iterator[Finding]:
    """Versions, extensions, memory and disk. Nothing is changed; a temporary file comes and goes beside `database`."""
    yield from _versions()
    yield _extensions()
    free = psutil.virtual_memory().available
    if free < _LITTLE_MEMORY:
        yield warn("memory", f"{free / 1e6:.0f} MB available", "A recorder takes about 200 MB: stop something else.")
    else:
        yield ok("memory", f"{free / 1e9:.1f} GB available")
    yield from _disk(database.absolute())


def _versions() -> Iterator[Finding]:
    system = f"{platform.system()} {platform.release()}"
    text = f"bmacdb {__version__}, Python {platform.python_version()}, DuckDB {duckdb.__version__}, {system}"
    try:
        required = requires("bmacdb") or []
    except PackageNotFoundError:
        required = []  # run from a checkout that is not installed
    needs = [need.partition(";")[0].replace(" ", "") for need in required if "extra" not in need]
    wrong = []
    for name, wanted in (need.split("==") for need in needs if "==" in need):
        try:
            found = version(name)
        except PackageNotFoundError:
            continue  # what is missing shows where it is needed
        if found != wanted:
            wrong.append(f"{name} is {found}, not {wanted}")
    if wrong:
        yield warn(
            "versions", f"{text}; {', '.join(wrong)}", "Install what bmacdb was tested with: pip install bmacdb."
        )
    else:
        yield ok("versions", text)


def _extensions() -> Finding:
    try:
        with duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false"}) as connection:
            load_quack(connection)
    except duckdb.Error as error:
        return fail(
            "extensions",
            f"Quack does not load, and nobody can read while it records: {str(error).splitlines()[0]}",
            f"pip install duckdb=={duckdb.__version__} duckdb-extension-quack=={duckdb.__version__} "
            f"duckdb-extension-httpfs=={duckdb.__version__}",
        )
    return ok("extensions", "Quack and httpfs load: others can read while it records")


def _disk(database: Path) -> Iterator[Finding]:
    directory = database.parent
    if not directory.is_dir():
        yield fail("disk", f"{directory} does not exist", "Create it, or give another --db.")
        return
    try:
        with tempfile.TemporaryFile(dir=directory):
            pass
        free = free_bytes(database)
    except OSError as error:
        yield fail("disk", f"{directory} cannot be written: {error.strerror}", "Mend its permissions.")
        return
    remedy = "Make room, or bound the file with --keep."
    text = f"{free / 1e9:,.1f} GB free in {directory}"
    if free < _NO_ROOM:
        yield fail("disk", text, remedy)
    elif free < LOW_BYTES:
        yield warn("disk", text, remedy)
    else:
        yield ok("disk", text)


def look_at_database(database: Path) -> Iterator[Finding]:
    """The file, who holds it, and how the recorder does that is alive."""
    live = sidefile.find(database)
    if live is not None:
        yield _recorder(database, live)
        return
    if (left := sidefile.read(database)) is not None:
        yield warn(
            "recorder",
            f"process {left.pid}, which recorded into {database}, is gone without a goodbye",
            "It was killed, or the machine went down: the next start repairs what is missing.",
        )
    try:
        found = check(database)
    except FileHeld as error:
        yield fail("database", str(error), "bmacdb status tells whether that is a recorder that works.")
    except StoreError as error:
        yield fail("database", str(error))
    else:
        if found is None:
            yield ok("database", f"{database} is not there yet: the first start creates it")
        else:
            yield ok("database", f"{database} is sound and free, {database.stat().st_size / 1e6:,.1f} MB")


def _recorder(database: Path, live: sidefile.Live) -> Finding:
    who = f"process {live.pid}, version {live.version}"
    try:
        with Watcher(database) as watcher:
            found = watcher.look()
    except StoreError as error:
        return fail(
            "recorder", f"{who} has the database and does not answer: {error}", "Look into its log; restart it."
        )
    weight = ", ".join(f"{name} weight {one['used']}/{one['limit']}" for name, one in (found.weight or {}).items())
    memory = "" if found.rss_bytes is None else f", memory {found.rss_bytes / 1e6:.0f} MB"
    feeds = "; ".join(f"{feed.feed} {feed.ready}/{feed.expected}" for feed in found.feeds)
    text = f"{who} is alive: {feeds or 'no feed yet'}{memory}{f', {weight}' if weight else ''}"
    late = [feed.feed for feed in found.feeds if feed.late]
    if found.state == "down" or not found.feeds:
        return warn("recorder", text, "It has only just started: ask again.")
    if late:
        return warn(
            "recorder",
            f"{text}; late: {', '.join(late)}",
            "bmacdb status shows what it waits for. (History comes first after a start.)",
        )
    return ok("recorder", text)
