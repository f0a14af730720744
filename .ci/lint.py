"""ruff, mypy --strict and import-linter: `python .ci/lint.py`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__: list[str] = []

CHECKS = (
    ("-m", "ruff", "check", "."),
    ("-m", "ruff", "format", "--check", "."),
    ("-m", "mypy"),
    ("-c", "from importlinter.cli import lint_imports_command as lint; lint()"),
)


def main() -> int:
    passed = []
    for check in CHECKS:
        print("$", *check[1:], flush=True)
        passed.append(
            subprocess.run([sys.executable, *check], cwd=Path(__file__).parent.parent, check=False).returncode
        )
    return int(any(passed))


if __name__ == "__main__":
    raise SystemExit(main())
