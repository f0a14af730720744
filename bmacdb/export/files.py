"""Files that are there whole or not at all: written under a temporary name, then renamed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import psutil
import pyarrow as pa

from bmacdb.errors import Unwritable

__all__ = ["ReadyFiles", "replacing", "write_table"]

_RENAME_ATTEMPTS = 20  # a reader on Windows has the file open for a moment
_RENAME_PAUSE_S = 0.02


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of `path` at the end of the block, and is gone when the block fails.

    The folder is made if need be. Raises Unwritable.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as sink:
            yield sink
        _rename(temporary, path)
    except OSError as error:
        raise Unwritable(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):  # whatever made the file fail may make this fail too, and is told already
            temporary.unlink(missing_ok=True)


def _rename(temporary: Path, path: Path) -> None:
    for attempt in range(_RENAME_ATTEMPTS):
        try:
            temporary.replace(path)
            return
        except PermissionError:
            if os.name != "nt" or attempt == _RENAME_ATTEMPTS - 1:
                raise
            time.sleep(_RENAME_PAUSE_S)


def write_table(table: pa.Table, path: Path, save_type: str) -> None:
    """Write a table as `save_type` (parquet, feather). Raises Unwritable."""
    with replacing(path) as sink:
        if save_type == "parquet":
            import pyarrow.parquet as pq

            # Prices hardly repeat, and these files are read whole: dictionaries and statistics are for nothing.
            pq.write_table(table, sink, compression="snappy", use_dictionary=False, write_statistics=False)
        else:
            with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
                writer.write_table(table)


class ReadyFiles:
    """The ready files of one folder: at most one of each item, its newest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._newest: dict[str, Path] = {}
        self._others: dict[str, list[Path]] | None = None

    def mark(self, item: str, path: Path, now_ms: int) -> None:
        """Write `path`, which tells that `item` is there, and let the one before go. Raises Unwritable."""
        if self._others is None:
            self._others = self._found()
        with replacing(path) as sink:
            sink.write(f"{now_ms / 1000:.3f}".encode())
        old = self._others.pop(item, [])
        if item in self._newest:
            old.append(self._newest[item])
        for before in old:
            if before != path:
                before.unlink(missing_ok=True)
        self._newest[item] = path

    def _found(self) -> dict[str, list[Path]]:
        """The ready files that an earlier program left. What it was writing when it was killed is removed."""
        for path in self._folder.glob(".*.tmp"):
            process = path.name.split(".")[-2]
            if process.isdecimal() and not psutil.pid_exists(int(process)):
                path.unlink(missing_ok=True)
        found: dict[str, list[Path]] = {}
        for path in self._folder.glob("*_*_*.ready"):
            found.setdefault(path.stem.rsplit("_", 2)[0], []).append(path)
        return found
