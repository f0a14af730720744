"""The library: one factor a file, in the language of `bmacdb.factors`."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from bmacdb.errors import StoreError

__all__ = ["factor_texts", "made_elsewhere", "version_of"]


def factor_texts(folder: Path | None = None) -> dict[str, str]:
    """The library's files, by the name of the factor; of a name that `folder` has too, that one."""
    texts = {
        place.name.removesuffix(".sql"): place.read_text(encoding="utf-8")
        for place in files("bmacdb.factor").iterdir()
        if place.name.endswith(".sql")
    }
    for path in folder.glob("*.sql") if folder is not None and folder.is_dir() else ():
        texts[path.stem] = path.read_text(encoding="utf-8", errors="replace")
    return dict(sorted(texts.items()))


def version_of(texts: Mapping[str, str], more: Iterable[str]) -> str:
    """A short text that changes whenever these factors, the helpers or one of `more` do."""
    helpers = files("bmacdb").joinpath("factors", "helpers.sql").read_text(encoding="utf-8")
    known = [helpers, *more, *(part for item in texts.items() for part in item)]
    return hashlib.sha256("\0".join(known).encode()).hexdigest()[:16]


def made_elsewhere(texts: Mapping[str, str], feeds: Sequence[str]) -> tuple[list[str], list[str]]:
    """`bmacdb.factors.macros.macros`, by a process of its own: a recorder keeps no parser (50 MB).

    Raises StoreError when the process fails.
    """
    command = [sys.executable, "-P", "-m", "bmacdb.factors.macros"]
    try:
        done = subprocess.run(
            command, input=json.dumps([texts, feeds]).encode(), capture_output=True, check=True, timeout=300
        )
    except subprocess.CalledProcessError as error:
        last = error.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise StoreError(f"the process that writes them ended with status {error.returncode}: {last}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StoreError(f"the process that writes them cannot run: {error}") from error
    made, told = json.loads(done.stdout)
    return made, told
