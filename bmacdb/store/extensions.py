"""DuckDB's extensions for serving and reading: Quack, and httpfs, whose HTTP its clients use and whose cryptography its
servers use.

They come as wheels and are loaded from there: no download, nothing written to the home directory.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import duckdb

__all__ = ["extension_file", "load_quack"]


@cache
def extension_file(name: str) -> Path | None:
    """Where the wheel of an extension has its file for this DuckDB; None where the wheel is missing."""
    spec = find_spec(f"duckdb_extension_{name}")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        for file in Path(folder).glob(f"extensions/v{duckdb.__version__}/**/{name}.duckdb_extension"):
            return file
    return None


def load_quack(connection: duckdb.DuckDBPyConnection) -> None:
    """Load what a server and a client need. Raises duckdb.Error when an extension is nowhere to be found."""
    for name in ("httpfs", "quack"):
        file = extension_file(name)
        if file is None:
            connection.execute(f"LOAD {name}")
        else:
            connection.execute(f"LOAD '{str(file).replace(chr(39), chr(39) * 2)}'")
