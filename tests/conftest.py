"""Fixtures for every test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No example is timed: the machine may be busy with something else.
settings.register_profile("bmacdb", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("bmacdb")

# The tests start hundreds of interpreters: each would compile 800 modules where the environment forbids to keep them.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ.setdefault("PYTHONPYCACHEPREFIX", str(Path(__file__).resolve().parent.parent / ".pytest_cache" / "bytecode"))

_DEFAULT = Path(__file__).resolve().parents[2] / "shared" / "data"


_LONG = ("test_matrix.py", "test_docs.py", "acceptance", "test_doctor_live.py", "trust")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first, so that no worker is left with one of them at the end."""

    def place(item: pytest.Item) -> int:
        return next((number for number, name in enumerate(_LONG) if name in item.path.parts), len(_LONG))

    items.sort(key=place)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """A folder of frames and bodies recorded from the exchange; they are not part of this repository."""
    folder = Path(os.environ.get("BMACDB_TEST_DATA", _DEFAULT))
    if not folder.is_dir():
        pytest.skip(f"no recorded data in {folder}: set BMACDB_TEST_DATA to the folder that has it")
    return folder


@pytest.fixture(scope="session")
def data() -> Path:
    """The small made-up bodies that belong to the tests."""
    return Path(__file__).parent / "data"
