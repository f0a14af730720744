"""Agreement: the mirror with its manifest and its source, and the record with the mirror. Nothing is changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bmacdb.archive.download import Wanted
from bmacdb.archive.layout import ArchiveFile, Kind
from bmacdb.archive.load import Found, read_file
from bmacdb.archive.mirror import Mirror, Verdict
from bmacdb.archive.recorded import recorded_candles
from bmacdb.errors import Malformed
from bmacdb.model import CANDLE_VALUES, Feed, SymbolInfo
from bmacdb.store.reader import Reader

__all__ = ["Checked", "Condition", "Difference", "check_file", "compare", "verify"]


class Condition(StrEnum):
    """How a file of the mirror stands."""

    GOOD = "good"
    FORCED = "forced"  # its checksum is not the published one, and it was accepted
    QUARANTINED = "quarantined"  # the same, and it was put aside
    MISSING = "missing"  # it was here
    CORRUPT = "corrupt"  # it is not what was fetched, or does not parse
    REPLACED = "replaced"  # the archive has another one now
    WITHDRAWN = "withdrawn"  # the archive has it no more


@dataclass(frozen=True, slots=True)
class Difference:
    """How a file and the record differ, in bars: not in the record, not alike, and in the record alone."""

    rows: int = 0
    missing: int = 0
    differing: int = 0
    extra: int = 0


@dataclass(frozen=True, slots=True)
class Checked:
    """One file. `difference` is None where it was not compared."""

    file: ArchiveFile
    condition: Condition
    problem: str = ""
    difference: Difference | None = None

    @property
    def agrees(self) -> bool:
        """Whether nothing is to be done about it."""
        fine = self.condition in (Condition.GOOD, Condition.FORCED)
        return fine and (self.difference is None or not (self.difference.missing or self.difference.differing))


def check_file(mirror: Mirror, file: ArchiveFile, listed: Mapping[str, Wanted] | None) -> tuple[Condition, str]:
    """The file itself: against the manifest, and against the archive's listing where that is given."""
    kept = mirror.noted(file.key)
    if kept is None:
        return Condition.MISSING, "it is not in the manifest"
    if listed is not None:
        if (now := listed.get(file.key)) is None:
            return Condition.WITHDRAWN, "the archive does not list it any more"
        if not kept.is_of(now.entry):
            return Condition.REPLACED, "the archive has another one now: bmacdb history download fetches it"
    if kept.verdict is Verdict.QUARANTINED:
        return Condition.QUARANTINED, f"its SHA-256 is {kept.sha256}, published is {kept.published}"
    try:
        digest = hashlib.sha256(mirror.path(file.key).read_bytes()).hexdigest()
    except OSError as error:
        return Condition.MISSING, f"it cannot be read: {error.strerror}"
    if digest != kept.sha256:
        return Condition.CORRUPT, f"its SHA-256 is {digest}, and was {kept.sha256} when it came"
    return (Condition.FORCED if kept.verdict is Verdict.FORCED else Condition.GOOD), ""


def compare(archived: pa.Table, recorded: pa.Table) -> Difference:
    """Two tables of one symbol's bars, each in order of time and without doubles."""
    theirs, ours = _times(archived), _times(recorded)
    _, at, here = np.intersect1d(theirs, ours, assume_unique=True, return_indices=True)
    alike = np.ones(len(at), np.bool_)
    for name in CANDLE_VALUES:
        alike &= archived[name].to_numpy()[at] == recorded[name].to_numpy()[here]
    return Difference(len(theirs), len(theirs) - len(at), int(np.count_nonzero(~alike)), len(ours) - len(here))


def _times(table: pa.Table) -> npt.NDArray[np.int64]:
    times: npt.NDArray[np.int64] = table["open_time"].cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    return times


def verify(
    mirror: Mirror,
    files: Iterable[ArchiveFile],
    feed: Feed,
    *,
    reader: Reader | None,
    listed: Mapping[str, Wanted] | None = None,
    known: Mapping[str, SymbolInfo] | None = None,
    now_ms: int,
) -> Iterator[Checked]:
    """Check files of the mirror, one after another. `reader` (None: leave it out) is of the record they are compared
    with, `listed` what the archive lists now, by key (None: it was not asked), `known` what is known of the symbols."""
    for file in files:
        condition, problem = check_file(mirror, file, listed)
        readable = condition in (Condition.GOOD, Condition.FORCED, Condition.REPLACED, Condition.WITHDRAWN)
        if reader is None or not readable or file.kind is not Kind.KLINES:
            yield Checked(file, condition, problem)
            continue
        try:
            parsed = read_file(Found.of(mirror, file, known), feed, closed_by_ms=now_ms)
        except Malformed as error:
            yield Checked(file, Condition.CORRUPT, str(error))
            continue
        recorded = recorded_candles(reader, feed, file.symbol, start_ms=file.start_ms, end_ms=file.end_ms)
        yield Checked(file, condition, problem, compare(parsed.table, recorded))
