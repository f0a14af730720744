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

__all__ = ["Live", "find", "process_start", "read", "remove", "side_path", "write"]

_SAME_START_S = 2.0


@dataclass(frozen=True, slots=True)
class Live:
    """A recorder that serves: `port` speaks Quack, `events_port` is a ZeroMQ PUB socket, `intake_port` takes
    rows (0: it does not); all on loopback."""

    port: int
    events_port: int
    token: str = field(repr=False)
    pid: int
    pid_started: float
    started_ms: int
    version: str
    intake_port: int = 0

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
        return abs(process_start(live.pid) - live.pid_started) < _SAME_START_S
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def process_start(pid: int) -> float:
    """When a process started, in seconds of whatever this system counts from. Raises psutil.Error.

    On Linux that is the boot: what psutil makes of it moves when the machine's clock is set.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        # Behind the command's name, which may hold anything, the start is the 20th field, in ticks.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return float(psutil.Process(pid).create_time())


def remove(database: Path, live: Live) -> None:
    """Remove the side file, if it is still the one of `live`."""
    if (found := read(database)) is not None and found.token == live.token:
        with contextlib.suppress(OSError):
            side_path(database).unlink(missing_ok=True)
