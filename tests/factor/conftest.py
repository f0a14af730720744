"""Packages of factors beside the user's code."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.factor.support import Make

_NUMBER = itertools.count()


@pytest.fixture
def package(tmp_path: Path) -> Iterator[Make]:
    """Makes a package of factors beside the user's code, and returns its name."""
    made: list[str] = []

    def make(files: Mapping[str, str]) -> str:
        name = f"own_factors_{next(_NUMBER)}"
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text, encoding="utf-8")
        made.append(name)
        return name

    sys.path.insert(0, str(tmp_path))
    yield make
    sys.path.remove(str(tmp_path))
    for name in [known for known in sys.modules if known.split(".")[0] in made]:
        del sys.modules[name]
