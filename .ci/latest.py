"""Lint and tests with the newest versions of everything; what fails is told beside the package that broke it.

Run by `.ci/run latest` in the environment that it made; arguments go to pytest. A package is named when the test passes
again after that package alone is put back to the version of constraints.txt.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

__all__: list[str] = []

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
LINT = "lint"
Blame = dict[str, list[str]]


def constrained() -> dict[str, str]:
    """The version of each package in constraints.txt that applies to this machine."""
    lines = [line for line in CONSTRAINTS.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    wanted = [Requirement(line) for line in lines]
    return {
        canonicalize_name(one.name): next(iter(one.specifier)).version
        for one in wanted
        if one.marker is None or one.marker.evaluate()
    }


def changed(tested: Mapping[str, str], installed: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Packages whose installed version is not the tested one: (tested, installed)."""
    both = sorted(tested.keys() & installed.keys())
    return {name: (tested[name], installed[name]) for name in both if tested[name] != installed[name]}


def report(changes: Mapping[str, tuple[str, str]], blame: Blame, unstable: Iterable[str]) -> str:
    """What is told at the end: the packages that are newer, and each failure with those that break it."""
    lines = [f"Newer than constraints.txt: {len(changes)} packages"]
    lines += [f"  {name} {new} (tested: {old})" for name, (old, new) in changes.items()]
    for failure, names in blame.items():
        lines.append(f"FAILED {failure}")
        guilty = [f"{name} {changes[name][1]} (passes with {changes[name][0]})" for name in names]
        lines.append(f"  broken by {', '.join(guilty) or 'no package alone; it passes with constraints.txt'}")
    for failure in unstable:
        lines += [f"FAILED {failure}", "  not by a version: with those of constraints.txt it failed, too"]
    if not blame and not unstable:
        lines.append("Everything passes: `just constraints` can take these versions.")
    return "\n".join(lines)


def installed() -> dict[str, str]:
    return {canonicalize_name(one.metadata["Name"]): one.version for one in distributions()}


def install(versions: Mapping[str, str], *options: str) -> None:
    command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", *options]
    subprocess.run([*command, *(f"{name}=={version}" for name, version in versions.items())], check=False)


def failing(checks: Iterable[str], *options: str) -> list[str]:
    """Which of the checks fail: tests by their names, and LINT. Without any, all tests and lint."""
    checks = list(checks)
    tests = [check for check in checks if check != LINT]
    failed = []
    if not checks or LINT in checks:
        failed += [LINT] if subprocess.run([sys.executable, ".ci/lint.py"], cwd=ROOT, check=False).returncode else []
    if checks and not tests:
        return failed
    with tempfile.TemporaryDirectory(prefix="bmacdb-latest-") as cache:
        command = [sys.executable, "-m", "pytest", "-q", "-o", f"cache_dir={cache}", *options, *tests]
        status = subprocess.run(command, cwd=ROOT, check=False).returncode
        told = Path(cache) / "v" / "cache" / "lastfailed"
        failed += sorted(json.loads(told.read_text("utf-8"))) if told.exists() else []
    if status not in (0, 1, 5) and not failed:
        failed += tests or ["tests"]  # pytest itself did not start
    return failed


def find_guilty(failures: list[str], changes: Mapping[str, tuple[str, str]]) -> tuple[Blame, list[str]]:
    """By failure the packages that break it, and the failures that no version explains."""
    print("\nWith the versions of constraints.txt:", flush=True)
    install({name: old for name, (old, _) in changes.items()}, "--no-deps")
    unstable = failing(failures)
    blame: Blame = {failure: [] for failure in failures if failure not in unstable}
    for name, (old, _) in changes.items():
        if not blame:
            break
        install({other: new for other, (_, new) in changes.items()}, "--no-deps")
        install({name: old})  # and those that it asks for in one version alone, as pydantic does for pydantic-core
        print(f"\nWith {name} {old}, and the newest of everything else:", flush=True)
        still = failing(blame)
        for failure in blame.keys() - set(still):
            blame[failure].append(name)
    return blame, unstable


def main() -> int:
    changes = changed(constrained(), installed())
    failures = failing((), *sys.argv[1:])
    blame, unstable = find_guilty(failures, changes) if failures else ({}, [])
    print(f"\n{report(changes, blame, unstable)}")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
