"""DuckDB's errors, told apart once: who holds the file, what is wrong with it, and whether the disk is full."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import duckdb
import psutil

from bmacdb.errors import FileHeld, NotABmacdbFile, SchemaTooNew, StoreError, StoreFull, Unwritable

__all__ = ["command_line", "committed_all_the_same", "opening_error", "writing_error"]

_HELD = re.compile(
    r"conflicting lock is held|being used by another process|already open in|unique file handle|"
    r"different configuration than existing",
    re.I,
)
_PID = re.compile(r"\(PID (\d+)\)")
_FOREIGN = re.compile(r"not a valid DuckDB database|corrupt|encrypt|checksum|failed to deserialize|magic bytes", re.I)
_NEWER = re.compile(r"(created|written) with (a|an) (newer|later)|newer (storage )?version|version number", re.I)
_FORBIDDEN = re.compile(
    r"permission denied|access is denied|read-only file system|operation not permitted|no such file or directory", re.I
)
_FULL = re.compile(
    r"no space left|disk (is )?full|not enough space|file too large|quota exceeded|could not write|failed to write",
    re.I,
)


def command_line(pid: int | None) -> str:
    """The command of a process, as far as this user may know it; '' otherwise."""
    if pid is None:
        return ""
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return ""


def opening_error(path: Path, error: duckdb.Error) -> StoreError:
    """What an error of opening `path` means to the user."""
    text = str(error)
    if _HELD.search(text):
        found = _PID.search(text)
        pid = int(found[1]) if found else None
        who = "another process" if pid is None else f"process {pid}"
        command = command_line(pid)
        return FileHeld(
            f"{path} is held by {who}{f' ({command})' if command else ''}: a DuckDB file has one writer. "
            "Stop that process, or record into another file with --db.",
            pid=pid,
        )
    if _FORBIDDEN.search(text):
        return Unwritable(f"{path} cannot be opened for writing: {text}. Mend its permissions, or give another --db.")
    if _FULL.search(text):
        return StoreFull(f"{path} cannot be opened, the disk is full: {text}. Make room and start again.")
    if _NEWER.search(text):
        return SchemaTooNew(f"{path} was written by a newer DuckDB: {text}. Upgrade bmacdb, or give another --db.")
    if _FOREIGN.search(text):
        return NotABmacdbFile(f"{path} is no DuckDB database: {text}. Give another --db; nothing was changed.")
    return StoreError(f"{path} cannot be opened: {text}")


def committed_all_the_same(error: duckdb.Error) -> bool:
    """Whether a transaction is durable although its COMMIT failed: it was the checkpoint behind it that failed."""
    return "COMMIT succeeded and is durable" in str(error)


def writing_error(path: Path, error: duckdb.Error) -> StoreError:
    """What an error of a transaction means; the transaction was rolled back."""
    text = str(error)
    if _FULL.search(text) or errno.errorcode[errno.ENOSPC] in text:
        return StoreFull(f"no room to write {path}: {text}. The rows at hand were not written; make room on its disk.")
    return StoreError(f"{path} could not be written: {text}")
