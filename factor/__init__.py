"""The library: one factor a file, in the language of `bmacdb.factors`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path

__all__ = ["factor_texts", "version_of"]


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
