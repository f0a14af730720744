"""Opening the file: recognised first, read-only, so that what is not ours stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb

from bmacdb.errors import Unwritable
from bmacdb.store import schema
from bmacdb.store.faults import opening_error

__all__ = ["check", "connect"]

CHECKPOINT_THRESHOLD = "64MB"
"""The automatic checkpoint, a backstop: the recorder checkpoints in quiet moments, long before."""


def check(path: Path) -> int | None:
    """The schema version of the file at `path`, None when there is nothing yet. Changes nothing.

    Raises FileHeld, NotABmacdbFile, SchemaTooNew, Unwritable.
    """
    if path.is_dir():
        raise Unwritable(f"{path} is a directory: name a file in it, as {path / 'bmac.duckdb'}.")
    if not path.parent.is_dir():
        raise Unwritable(f"{path.parent} is no directory: create it (mkdir -p {path.parent}), or give another --db.")
    if not path.exists():
        return None
    try:
        with duckdb.connect(path, read_only=True) as connection:
            return schema.stored_version(connection, str(path))
    except duckdb.Error as error:
        raise opening_error(path, error) from error


def connect(path: Path, options: Mapping[str, object]) -> duckdb.DuckDBPyConnection:
    """Open the file for writing. `options` are settings of the database."""
    try:
        connection = duckdb.connect(
            path,
            config={
                "checkpoint_threshold": CHECKPOINT_THRESHOLD,
                "autoinstall_known_extensions": "false",  # no network behind the user's back
                # Its allocator gives memory back only when it is called again, which after a checkpoint takes a while.
                "allocator_background_threads": "true",
                # A dead instance must still take the order to stop its server: the Store reopens it at once anyway.
                "disable_database_invalidation": "true",
                **{name: str(value) for name, value in options.items()},
            },
        )
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
    except duckdb.Error as error:
        raise opening_error(path, error) from error
    return connection
