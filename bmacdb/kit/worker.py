"""The other end of `bmacdb.kit.workers`: a process that computes factors, one request after the other.

A request and a reply are each eight bytes of length and a pickle. Its standard input and output are the pipes to the
process that started it, so factors get an empty input, and what they print goes to stderr.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import struct
import sys
import traceback
from dataclasses import dataclass
from typing import IO

from bmacdb.kit.passes import Answer, Piece, Task, calculate

__all__ = ["Request", "Unable", "main", "receive", "send"]

_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class Request:
    """`task` is a pickled Task: it is loaded after the path on which its modules are found has been set."""

    path: tuple[str, ...]
    folder: str | None
    task: bytes
    piece: Piece


@dataclass(frozen=True, slots=True)
class Unable:
    """The worker cannot do this one, as where a module is not found here; the process that asked may."""

    traceback: str


def send(stream: IO[bytes], message: object) -> None:
    """Raises OSError when nobody reads."""
    data = pickle.dumps(message, protocol=5)
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def receive(stream: IO[bytes]) -> object:
    """Raises EOFError when the other end is gone."""
    head = stream.read(_LENGTH.size)
    length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
    data = stream.read(length)
    if not length or len(data) < length:
        raise EOFError
    return pickle.loads(data)


@dataclass(slots=True)
class _Desk:
    """What is kept from one request to the next."""

    packed: bytes = b""
    task: Task | None = None

    def answer(self, request: Request) -> Answer | Unable:
        try:
            return calculate(self._prepared(request), request.piece)
        except Exception:  # a user's module may raise anything while it is imported
            return Unable(traceback.format_exc())

    def _prepared(self, request: Request) -> Task:
        if sys.path != list(request.path):
            sys.path[:] = request.path
        if request.folder is not None:
            with contextlib.suppress(OSError):
                os.chdir(request.folder)
        if self.task is None or self.packed != request.task:
            importlib.invalidate_caches()
            self.task, self.packed = pickle.loads(request.task), request.task
        return self.task


def _pipes() -> tuple[IO[bytes], IO[bytes]]:
    """The pipes, under descriptors of their own, so that a factor that prints does no harm."""
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # a program without a console
        os.dup2(nothing, 1)
    os.close(nothing)
    return incoming, outgoing


def main() -> None:
    """Answer until the pipe is closed."""
    incoming, outgoing = _pipes()
    desk = _Desk()
    try:
        send(outgoing, "ready")
        while True:
            request = receive(incoming)
            assert isinstance(request, Request)
            send(outgoing, desk.answer(request))
    except (EOFError, OSError):
        # Whoever asked is gone, and nothing is left to be tidied up.
        os._exit(0)
