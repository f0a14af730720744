"""Writes constraints.txt, the versions that are tested: `python .ci/constraints.py`, or `just constraints`.

One file serves Python 3.11 to 3.14 on every platform: where no version serves all of them, markers choose. It takes the
newest versions that pyproject.toml allows; with `--keep` those in the file stay, and only what is missing is added.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

__all__: list[str] = []

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
HEADER = """\
# The versions that are tested: names and versions alone, so that the file serves with every registry.
# Made by `just constraints`. README's commands and .ci/run install these, `.ci/run latest` the newest instead.
"""
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS = (
    "x86_64-manylinux_2_28",
    "aarch64-manylinux_2_28",
    "x86_64-apple-darwin",
    "aarch64-apple-darwin",
    "x86_64-pc-windows-msvc",
)
OLDEST_MACOS = "14.0"  # TA-Lib has no wheels for older ones


@contextmanager
def resolver() -> Iterator[str]:
    """uv, which resolves for all platforms at once: as installed, or in an environment of its own."""
    if installed := shutil.which("uv"):
        yield installed
        return
    with tempfile.TemporaryDirectory(prefix="bmacdb-uv-") as home:
        venv.create(home, with_pip=True)
        scripts = Path(home) / ("Scripts" if os.name == "nt" else "bin")
        subprocess.run([scripts / "python", "-m", "pip", "install", "-q", "uv"], check=True)
        yield str(scripts / "uv")


def resolve(uv: str, *options: str) -> str:
    """The resolved versions, one a line. Raises CalledProcessError; uv has said why."""
    return subprocess.run(
        [uv, "pip", "compile", "-q", "--no-header", "--no-annotate", *options],
        cwd=ROOT,
        env=os.environ | {"MACOSX_DEPLOYMENT_TARGET": OLDEST_MACOS},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="keep the versions that are in the file")
    keep = ["-c", CONSTRAINTS.name] if parser.parse_args().keep else []
    everything = ["--universal", "--python-version", PYTHONS[0], "--extra", "dev", "--no-emit-package", "bmacdb"]
    with resolver() as uv, ThreadPoolExecutor(4) as pool:

        def wheels(target: tuple[str, str]) -> None:  # a user should need no compiler
            python, platform = target
            options = ("--no-deps", "--only-binary", ":all:", CONSTRAINTS.name)
            resolve(uv, "--python-version", python, "--python-platform", platform, *options)

        try:
            versions = resolve(uv, *everything, *keep, "pyproject.toml")
            CONSTRAINTS.write_text(HEADER + versions, encoding="utf-8")
            list(pool.map(wheels, itertools.product(PYTHONS, PLATFORMS)))
        except subprocess.CalledProcessError:
            print("There are no such versions for every platform: see above.", file=sys.stderr)
            return 1
    print(f"{CONSTRAINTS.name}: {len(versions.splitlines())} versions, with wheels for every platform")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
