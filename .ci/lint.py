"""ruff, mypy --strict and import-linter over the package as it is installed: `python .ci/lint.py`."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

__all__: list[str] = []

ROOT = Path(__file__).resolve().parent.parent


def lay_out(target: Path) -> None:
    """The packages where an installation would put them: the checks then see `bmacdb.cli`, not `cli`."""
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    mapping: dict[str, str] = setuptools["package-dir"]
    for package in sorted(mapping, key=len):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / mapping[package], target / package.replace(".", "/"), ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", target)


def run(*command: str, where: Path = ROOT) -> bool:
    print("$", *command[1:], flush=True)
    return subprocess.run([sys.executable, *command], cwd=where, check=False).returncode == 0


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="bmacdb-lint-") as name:
        lay_out(Path(name))
        passed = [
            run("-m", "ruff", "check", "."),
            run("-m", "ruff", "format", "--check", "."),
            run("-m", "mypy", "--cache-dir", str(ROOT / ".mypy_cache"), "-p", "bmacdb", where=Path(name)),
            run("-c", "from importlinter.cli import lint_imports_command as lint; lint()", where=Path(name)),
        ]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    raise SystemExit(main())
