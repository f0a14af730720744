"""The side file: how readers find a live recorder.

It stands beside the database as `<database>.live`, is readable by its owner alone (mode 0600), appears whole, and
goes when the recorder ends. One left behind by a killed recorder is told by its process.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from bmacdb.errors import Unwritable

__all__ = ["Live", "find", "read", "remove", "side_path", "write"]

_SAME_START_S = 2.0


@dataclass(frozen=True, slots=True)
class Live:
    """A recorder that serves: `port` speaks Quack, `events_port` is a ZeroMQ PUB socket, both on loopback."""

    port: int
    events_port: int
    token: str = field(repr=False)
    pid: int
    pid_started: float
    started_ms: int
    version: str

    @property
    def uri(self) -> str:
        return f"quack:localhost:{self.port}"

    @property
    def events_address(self) -> str:
        return f"tcp://127.0.0.1:{self.events_port}"


def side_path(database: Path) -> Path:
    """`bmac.duckdb` -> `bmac.duckdb.live`; symbolic links are followed, so that every name of a database leads here."""
    real = Path(os.path.realpath(database))
    return real.with_name(real.name + ".live")


def write(database: Path, live: Live) -> None:
    """Write the side file whole, readable by the owner alone. Raises Unwritable."""
    path = side_path(database)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(asdict(live), file)
            os.replace(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise Unwritable(
            f"{path} cannot be written ({error.strerror}), and readers find the recorder by it: mend its directory."
        ) from error


def read(database: Path) -> Live | None:
    """What the side file says; None where there is none, or none that makes sense."""
    try:
        found = json.loads(side_path(database).read_text(encoding="utf-8"))
        return Live(**{name: found[name] for name in Live.__dataclass_fields__})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def find(database: Path) -> Live | None:
    """The live recorder of a database; None where there is none, or one that was killed left its side file."""
    live = read(database)
    return live if live is not None and _runs(live) else None


def _runs(live: Live) -> bool:
    """Whether the process is there and is the same one: a process id may have been given to another since."""
    try:
        return bool(abs(psutil.Process(live.pid).create_time() - live.pid_started) < _SAME_START_S)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def remove(database: Path, live: Live) -> None:
    """Remove the side file, if it is still the one of `live`."""
    if (found := read(database)) is not None and found.token == live.token:
        with contextlib.suppress(OSError):
            side_path(database).unlink(missing_ok=True)
