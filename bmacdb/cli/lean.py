"""Leaving pandas out of a process that has no use for it.

duckdb imports it with the first bound parameter and pyarrow with the first array, only to see whether a value is one of
its own: 60 MB of a recorder that runs for months on a small server.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["without_pandas"]


class _NoPandas(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name == "pandas":
            raise ModuleNotFoundError("pandas is left out of this process", name=name)
        return None


@contextmanager
def without_pandas() -> Iterator[None]:
    """Within the block, importing pandas fails as if it were not installed (unless it is there already)."""
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
