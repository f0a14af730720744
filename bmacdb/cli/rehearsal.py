"""A stand-in exchange as a child process, for `run --simulate` and `demo`: it ends with the recorder."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from bmacdb.config import Settings
from bmacdb.errors import BmacdbError
from bmacdb.model import Market

__all__ = ["StandIn", "rehearsing", "stand_in"]

_START_SECONDS = 60.0
_STOP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class StandIn:
    """Where the stand-in listens, and how fast its clock runs."""

    rest_url: str
    ws_url: str
    speed: float


@contextmanager
def stand_in(*, speed: float = 1.0, arguments: Sequence[str] = ()) -> Iterator[StandIn]:
    """Run `bmacdb simulate` on a free port of loopback for as long as the block lasts.

    Raises BmacdbError with what it said when it does not start.
    """
    command = [sys.executable, "-m", "bmacdb.cli.main", "simulate", "--format", "json", "--port", "0"]
    command += ["--speed", f"{speed:g}", "--die-with-parent", *arguments]
    # A process group of its own: Ctrl-C is for the recorder, which ends cleanly while the exchange still answers.
    windows_flags = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        creationflags=windows_flags,
        start_new_session=not windows_flags,
    )
    assert child.stdin is not None  # all three were asked for
    assert child.stdout is not None
    assert child.stderr is not None
    said = _Tail(child.stderr)
    try:
        yield _address(child.stdout, said, speed)
    finally:
        child.terminate()
        try:
            child.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        child.stdin.close()
        child.stdout.close()
        said.close()


@contextmanager
def rehearsing(
    settings: Settings, *, speed: float, arguments: Sequence[str] = (), alerts_for_real: bool = False
) -> Iterator[Settings]:
    """The same settings, pointed at a stand-in of their own; without `alerts_for_real` no alert is sent."""
    if not alerts_for_real:
        settings = _muted(settings)
    with stand_in(speed=speed, arguments=arguments) as exchange:
        yield settings.model_copy(
            update={
                "rest_url": exchange.rest_url,
                "ws_url": exchange.ws_url,
                "clock_rate": exchange.speed,
                "proxy": None,
                **{f"{market}_{kind}": None for market in Market for kind in ("rest_url", "ws_url")},
            }
        )


def _muted(settings: Settings) -> Settings:
    """Without targets of alerts; a warning says so where there are any. Troubles of a rehearsal should wake nobody."""
    if not (settings.alerts or settings.dingding or settings.msg_sender):
        return settings
    warning = "alerts are muted in this rehearsal: they go to the log alone. --alerts-for-real sends them."
    nothing = {"alerts": (), "dingding": None, "msg_sender": None}
    return settings.model_copy(update={**nothing, "warnings": (*settings.warnings, warning)})


class _Tail:
    """The last lines of a stream, read on so that the child never waits for us."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self.lines: list[str] = []
        self._thread = threading.Thread(target=self._read, name="stand-in", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._stream:
            self.lines = [*self.lines[-9:], line.rstrip()]

    def close(self) -> None:
        self._thread.join(_STOP_SECONDS)
        if not self._thread.is_alive():
            self._stream.close()


def _address(stdout: IO[str], said: _Tail, speed: float) -> StandIn:
    """The first line that the child prints."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        lines.put(stdout.readline())
        for _ in stdout:  # nothing more is expected; a full pipe would stop it
            pass

    threading.Thread(target=read, name="stand-in-address", daemon=True).start()
    try:
        line = lines.get(timeout=_START_SECONDS)
    except queue.Empty:
        raise BmacdbError(f"the stand-in exchange said nothing for {_START_SECONDS:.0f} s.") from None
    try:
        told = json.loads(line)
        return StandIn(told["rest_url"], told["ws_url"], float(told.get("speed", speed)))
    except (ValueError, KeyError, TypeError) as exc:
        said.close()
        detail = "\n  ".join(said.lines) or repr(line)
        raise BmacdbError(f"the stand-in exchange did not start:\n  {detail}") from exc
