"""The tested versions, and how `.ci/run latest` tells which newer one breaks a test."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(not (ROOT / "constraints.txt").exists(), reason="needs the source tree")


def asked_for() -> Iterator[Requirement]:
    """What `bmacdb[dev]` asks for, directly and by other extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    waiting = [*project["dependencies"], "bmacdb[dev]"]
    while waiting:
        requirement = Requirement(waiting.pop())
        if requirement.name == "bmacdb":
            for extra in requirement.extras:
                waiting += project["optional-dependencies"][extra]
        else:
            yield requirement


def pinned() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


@pytest.fixture
def latest() -> ModuleType:
    spec = importlib.util.spec_from_file_location("latest", ROOT / ".ci" / "latest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
def test_every_dependency_has_one_tested_version(python: str) -> None:
    """Within the bounds of pyproject.toml, for each Python. Where one is missing: `just constraints --keep`."""
    here = default_environment() | {"python_version": python, "python_full_version": f"{python}.0"}
    versions: dict[str, list[str]] = {}
    for one in pinned():
        if one.marker is None or one.marker.evaluate({name: str(value) for name, value in here.items()}):
            versions.setdefault(canonicalize_name(one.name), []).append(next(iter(one.specifier)).version)
    for asked in asked_for():
        found = versions.get(canonicalize_name(asked.name), [])
        assert len(found) == 1, f"{asked} has {found or 'no version'} in constraints.txt"
        assert asked.specifier.contains(found[0]), f"{asked} is {found[0]} in constraints.txt"


def test_constraints_are_names_and_versions_alone() -> None:
    """No address, hash or option: the file serves with every registry."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    line = re.compile(
        r"[a-z0-9-]+==[a-z0-9.]+( ; [a-z_]+ (==|!=|<|>=) '[\w.]+'( (and|or) [a-z_]+ (==|!=|<|>=) '[\w.]+')*)?"
    )
    assert [one for one in lines if not one.startswith("#") and not line.fullmatch(one)] == []
    assert not any("://" in one for one in lines)


def test_the_guilty_package_is_the_one_that_mends_the_test(latest: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three newer packages one breaks a test, two break another together, and a third failure has another cause."""
    tested = {"apprise": "2.2.0", "rich": "15.0.0", "typer": "0.29.2", "yarl": "1.0"}
    installed = {"apprise": "2.3.0", "rich": "16.0.0", "typer": "0.30.0", "yarl": "1.0", "pip": "26.0"}
    now = dict(installed)

    def install(versions: dict[str, str], *_: str) -> None:
        now.update(versions)

    def failing(checks: list[str]) -> list[str]:
        broken = {
            "test_title": now["apprise"] == "2.3.0",
            "test_both": now["rich"] == "16.0.0" or now["typer"] == "0.30.0",
            "test_flaky": True,
        }
        return [check for check in checks if broken[check]]

    monkeypatch.setattr(latest, "install", install)
    monkeypatch.setattr(latest, "failing", failing)
    changes = latest.changed(tested, installed)
    assert changes == {
        "apprise": ("2.2.0", "2.3.0"),
        "rich": ("15.0.0", "16.0.0"),
        "typer": ("0.29.2", "0.30.0"),
    }
    blame, unstable = latest.find_guilty(["test_both", "test_flaky", "test_title"], changes)
    assert (blame, unstable) == ({"test_both": [], "test_title": ["apprise"]}, ["test_flaky"])
    told = latest.report(changes, blame, unstable).splitlines()
    assert told[told.index("FAILED test_title") + 1] == "  broken by apprise 2.3.0 (passes with 2.2.0)"
    assert told[told.index("FAILED test_flaky") + 1].startswith("  not by a version")
    assert "no package alone" in told[told.index("FAILED test_both") + 1]
