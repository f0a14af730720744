"""Processes that compute Python factors, kept between run times.

They are started as programs of their own and not forked or spawned from this one's main module: a strategy without
`if __name__ == "__main__"` would begin to trade in each of them.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue

from bmacdb.errors import UsageError
from bmacdb.kit.passes import Answer, Piece, Task, calculate, nulls
from bmacdb.kit.threads import cores
from bmacdb.kit.worker import Request, Unable, receive, send

__all__ = ["Workers"]

logger = logging.getLogger("bmacdb.kit")

_WORTH = 1000
"""Calls of factors from which on workers are started unasked: some 0.4 s for one core, as long as a worker takes to
start."""

_PIECE_ROWS = 40_000
"""Rows sent at once: small enough that all workers end at about the same time."""

_PATIENCE_S = 2.0
"""How long a worker may go on with what it has, once it is not needed any more."""

_START = (
    "import json, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); sys.path[:] = json.loads(sys.argv[1]);"
    " sys.argv[:] = ['']; from bmacdb.kit.worker import main; main()"
)


class _Unstartable(Exception):
    """No worker can be had on this machine."""


class _Dead(Exception):
    """The worker ended while it computed."""


class _Worker:
    """One process; used by one thread at a time."""

    def __init__(self) -> None:
        """Raises _Unstartable."""
        self._ready = False
        options = [f"-W{option}" for option in sys.warnoptions]
        path = json.dumps([entry for entry in sys.path if isinstance(entry, str)])
        try:
            self.process = subprocess.Popen(
                [sys.executable, *options, "-c", _START, path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except (OSError, ValueError) as exc:
            raise _Unstartable(str(exc)) from exc

    def ask(self, request: Request) -> object:
        """Its reply. Raises _Dead, _Unstartable when it never began."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            if not self._ready:
                receive(self.process.stdout)
                self._ready = True
            send(self.process.stdin, request)
            return receive(self.process.stdout)
        except (OSError, EOFError, ValueError) as exc:  # ValueError: closed by another thread
            self.end(0)
            if not self._ready:
                raise _Unstartable(f"it ended at once with status {self.process.returncode}") from exc
            raise _Dead(f"process {self.process.pid} ended with status {self.process.returncode}") from exc

    def end(self, patience_s: float = _PATIENCE_S) -> None:
        """Close its pipe, which ends it; kill it when that takes too long."""
        with contextlib.suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.close()
        try:
            self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def _end(workers: list[_Worker]) -> None:
    for worker in workers:
        with contextlib.suppress(OSError):
            if worker.process.stdin is not None:
                worker.process.stdin.close()
    while workers:
        workers.pop().end()


@dataclass(frozen=True, slots=True)
class _Job:
    task: Task
    packed: bytes
    path: tuple[str, ...]
    folder: str | None


class Workers:
    """`number` processes; 1 is none but this one, None as many as there are cores, once there is enough to compute.

    One calculation at a time; others wait.
    """

    def __init__(self, number: int | None = None) -> None:
        """Raises UsageError for a number below 1."""
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
            raise UsageError(
                f"workers is {number!r}; it must be 1 (in this process) or more, or None (a worker a core)."
            )
        self.number = cores() if number is None else number
        self._worth = _WORTH if number is None else 0
        self._lock = threading.Lock()
        self._workers: list[_Worker] = []
        self._changing = threading.Lock()
        self._closing = False
        self._pid = os.getpid()
        weakref.finalize(self, _end, self._workers)

    def __repr__(self) -> str:
        return f"<Workers {self.number}, {len(self._workers)} running>"

    @property
    def running(self) -> tuple[int, ...]:
        """The ids of the processes that are there now."""
        with self._changing:
            return tuple(worker.process.pid for worker in self._workers)

    def close(self) -> None:
        """End the processes; a calculation under way fails. The next one starts them again."""
        self._closing = True
        if self._lock.locked():
            with self._changing:  # or it would be waited for
                for worker in self._workers:
                    worker.process.kill()
        with self._lock:
            with self._changing:
                _end(self._workers)
            self._closing = False

    def run(self, task: Task, parts: Iterable[Piece], calls: float, symbols: int) -> list[Answer]:
        """The answers, in the order of the parts. About so many calls of factors, and symbols, there are in all.

        Raises UsageError when it is closed meanwhile, and whatever reading the parts raises.
        """
        if not calls or self.number == 1 or calls < self._worth or os.getpid() != self._pid:
            return [calculate(task, piece) for piece in parts]
        with self._lock:
            return self._spread(task, parts, symbols)

    def _spread(self, task: Task, parts: Iterable[Piece], symbols: int) -> list[Answer]:
        packed, free = self._prepared(task)
        if packed is None:
            return [calculate(task, piece) for piece in parts]
        path = tuple(entry for entry in sys.path if isinstance(entry, str))
        job = _Job(task, packed, path, _folder())
        most = max(min(-(-symbols // (4 * self.number)), _PIECE_ROWS // len(task.opens)), 1)
        room = threading.Semaphore(2 * self.number)  # pieces that wait in memory
        futures: list[Future[Answer]] = []
        with ThreadPoolExecutor(self.number, "bmacdb-factors") as pool:
            try:
                for piece in _pieces(parts, most):
                    room.acquire()
                    self._still_open()
                    futures.append(pool.submit(self._one, job, piece, free))
                    futures[-1].add_done_callback(lambda _: room.release())
                return [future.result() for future in futures]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _prepared(self, task: Task) -> tuple[bytes | None, SimpleQueue[_Worker | None]]:
        """The task as workers get it, None when none can be had, and the workers."""
        free: SimpleQueue[_Worker | None] = SimpleQueue()
        try:
            packed = pickle.dumps(task, protocol=5)
            with self._changing:
                while len(self._workers) < self.number:
                    self._workers.append(_Worker())
                for worker in self._workers:
                    free.put(worker)
        except (pickle.PicklingError, TypeError, AttributeError, _Unstartable) as exc:
            self._give_up(exc)
            return None, free
        return packed, free

    def _give_up(self, why: Exception) -> None:
        if self.number > 1:
            logger.warning("no worker can be started (%s): factors are computed in this process.", why)
        self.number = 1

    def _one(self, job: _Job, piece: Piece, free: SimpleQueue[_Worker | None]) -> Answer:
        """A piece, by whichever worker is free. One that kills its worker is tried once more, and then is null."""
        worker = free.get()
        try:
            for attempt in (1, 2):
                self._still_open()
                if worker is None:
                    return calculate(job.task, piece)
                try:
                    reply = worker.ask(Request(job.path, job.folder, job.packed, piece))
                except _Unstartable as exc:
                    self._still_open()
                    self._give_up(exc)
                    worker = self._replaced(worker, None)
                except _Dead as exc:
                    self._still_open()
                    died = f"the worker that computed {_named(piece)} died: {exc}"
                    logger.warning("%s. Another one is started in its place.", died)
                    worker = self._replaced(worker, _fresh())
                    if attempt == 2:
                        return nulls(job.task, piece, f"{died}, twice.")
                else:
                    return reply if isinstance(reply, Answer) else self._unable(job, piece, reply)
            return calculate(job.task, piece)
        finally:
            free.put(worker)

    def _unable(self, job: _Job, piece: Piece, reply: object) -> Answer:
        """What a worker cannot do is done here."""
        if isinstance(reply, Unable) and self.number > 1:
            logger.warning("a worker could not compute, so this process does.\n%s", reply.traceback.rstrip())
        self.number = 1
        return calculate(job.task, piece)

    def _replaced(self, old: _Worker, new: _Worker | None) -> _Worker | None:
        with self._changing:
            if old in self._workers:
                self._workers.remove(old)
            if new is not None:
                self._workers.append(new)
        return new

    def _still_open(self) -> None:
        if self._closing:
            raise UsageError("the reader was closed while factors were computed.")


def _fresh() -> _Worker | None:
    try:
        return _Worker()
    except _Unstartable:
        return None


def _pieces(parts: Iterable[Piece], most: int) -> Iterator[Piece]:
    for piece in parts:
        yield from piece.cut(most)


def _named(piece: Piece) -> str:
    first, last = piece.rows.symbols[0], piece.rows.symbols[-1]
    return first if first == last else f"{first} to {last}"


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was deleted
        return None
