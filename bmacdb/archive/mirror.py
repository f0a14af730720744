"""The local mirror: the archive's files in the archive's own layout, and a manifest of what was fetched.

The manifest, `manifest.jsonl`, has a line for each file as it came; the last line of a key is the one that counts, so
that a kill in between loses nothing but the line it was at. What did not have its published checksum lies below
`quarantine/`, out of the way of whoever reads the mirror.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from bmacdb.archive.layout import ArchiveFile, parse_key
from bmacdb.archive.listing import Entry
from bmacdb.errors import Unwritable

__all__ = ["Kept", "Mirror", "Verdict"]

_MANIFEST = "manifest.jsonl"
_QUARANTINE = "quarantine"
_WORTH_COMPACTING = 2.0


class Verdict(StrEnum):
    """What is held of a file."""

    GOOD = "good"  # it has its published checksum
    UNCHECKED = "unchecked"  # none was published
    FORCED = "forced"  # it does not have it, and was accepted all the same
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Kept:
    """A file as it was fetched. `sha256` is its own, `published` the one that the archive gave ('' for none)."""

    key: str
    last_modified_ms: int
    etag: str
    size: int
    sha256: str
    published: str
    verdict: Verdict
    fetched_ms: int

    def is_of(self, entry: Entry) -> bool:
        """Whether the archive still has what was fetched."""
        return (self.last_modified_ms, self.etag) == (entry.last_modified_ms, entry.etag)


class Mirror:
    """A directory; made when something is put there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._kept: dict[str, Kept] = {}
        self._lines = 0
        self._torn = False  # the last line was cut short: what follows must not continue it
        try:
            with (root / _MANIFEST).open(encoding="utf-8") as file:
                for line in file:
                    self._lines += 1
                    self._torn = not line.endswith("\n")
                    if (kept := _parsed(line)) is not None:
                        self._kept[kept.key] = kept
        except FileNotFoundError:
            pass
        except OSError as error:
            raise Unwritable(
                f"{root / _MANIFEST} cannot be read: {error.strerror}. Mend it, or give --mirror."
            ) from error

    def __repr__(self) -> str:
        return f"<Mirror {self.root} files={len(self._kept)}>"

    def path(self, key: str) -> Path:
        """Where a file of the archive lies, or will lie."""
        return self.root / key

    def quarantine(self, key: str) -> Path:
        """Where it lies when its checksum is wrong."""
        return self.root / _QUARANTINE / key

    def part(self, entry: Entry) -> Path:
        """Where it lies while it comes. Another content has another name, so that halves of two never meet."""
        path = self.path(entry.key)
        tag = "".join(filter(str.isalnum, entry.etag))[:12] or str(entry.last_modified_ms)
        return path.with_name(f"{path.name}.{tag}.part")

    def kept(self, key: str) -> Kept | None:
        """What was fetched under a key, as far as it is still there."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        where = self.quarantine(key) if kept.verdict is Verdict.QUARANTINED else self.path(key)
        try:
            return kept if where.stat().st_size == kept.size else None
        except OSError:
            return None

    def noted(self, key: str) -> Kept | None:
        """What was fetched under a key, whether or not it is still there."""
        return self._kept.get(key)

    def all(self) -> Iterator[tuple[ArchiveFile, Kept]]:
        """Everything in the manifest, in order of keys."""
        for key in sorted(self._kept):
            if (file := parse_key(key)) is not None:
                yield file, self._kept[key]

    def make_room(self, path: Path) -> None:
        """Make the directories of a path. Raises Unwritable."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unwritable(f"{path.parent} cannot be made: {error.strerror}. Mend it, or give --mirror.") from error

    def keep(self, kept: Kept, part: Path) -> None:
        """Put a file that has come in its place, with its checksum beside it, and note it. Raises Unwritable."""
        good, bad = self.path(kept.key), self.quarantine(kept.key)
        place, other = (bad, good) if kept.verdict is Verdict.QUARANTINED else (good, bad)
        self.make_room(place)
        try:
            if part != place:
                os.replace(part, place)
            if kept.published:
                beside = place.with_name(place.name + ".CHECKSUM")
                beside.write_text(f"{kept.published}  {place.name}\n", encoding="utf-8")
            for leftover in (other, other.with_name(other.name + ".CHECKSUM")):
                leftover.unlink(missing_ok=True)
            for leftover in good.parent.glob(f"{_escaped(good.name)}.*.part"):
                leftover.unlink(missing_ok=True)
            with (self.root / _MANIFEST).open("a", encoding="utf-8") as file:
                file.write("\n" * self._torn + json.dumps(asdict(kept), ensure_ascii=False) + "\n")
                self._torn = False
        except OSError as error:
            raise Unwritable(
                f"{place} cannot be written: {error.strerror or error}. Make room, or give --mirror."
            ) from error
        self._kept[kept.key] = kept
        self._lines += 1

    def compact(self) -> None:
        """Write the manifest anew when it has grown to twice of what it says."""
        if self._lines < 1000 or self._lines < _WORTH_COMPACTING * len(self._kept):
            return
        path = self.root / _MANIFEST
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            lines = (json.dumps(asdict(kept), ensure_ascii=False) + "\n" for kept in self._kept.values())
            temporary.write_text("".join(lines), encoding="utf-8")
            os.replace(temporary, path)
        except OSError as error:
            raise Unwritable(f"{path} cannot be written: {error.strerror}.") from error
        self._lines = len(self._kept)


def _parsed(line: str) -> Kept | None:
    """A line of the manifest; None for one that a kill cut short."""
    try:
        found = json.loads(line)
        return Kept(**found | {"verdict": Verdict(found["verdict"])})
    except (ValueError, TypeError, KeyError):
        return None


def _escaped(name: str) -> str:
    return name.replace("[", "[[]")
