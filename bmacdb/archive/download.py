"""Downloads into the mirror: in parallel, checked, and only what is not there or was replaced at the source."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from bmacdb.archive.client import ArchiveClient
from bmacdb.archive.layout import ArchiveFile, Cadence, Kind, covering, day_of, folder, month_of, parse_key
from bmacdb.archive.listing import Entry
from bmacdb.archive.mirror import Kept, Mirror, Verdict
from bmacdb.clock import Clock
from bmacdb.errors import Blocked, ExchangeError, UsageError
from bmacdb.model import Market

__all__ = ["Fetched", "Outcome", "Wanted", "download", "list_files", "list_symbols"]

_LISTINGS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that the archive lists."""

    file: ArchiveFile
    entry: Entry


class Outcome(StrEnum):
    """What became of a file."""

    HAVE = "have"  # it was there already
    NEW = "new"
    REPLACED = "replaced"  # it was there, and the archive has another one now
    QUARANTINED = "quarantined"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Fetched:
    """One file, and what became of it; `problem` says why, where it is not simply there."""

    wanted: Wanted
    outcome: Outcome
    problem: str = ""


async def list_symbols(client: ArchiveClient, market: Market, kind: Kind = Kind.KLINES) -> list[str]:
    """Every symbol that the archive has or had, in order."""
    found: set[str] = set()
    for cadence in (Cadence.MONTHLY, *((Cadence.DAILY,) if kind is Kind.KLINES else ())):
        found.update(await client.names(folder(market, kind, cadence)))
    return sorted(found)


async def list_files(
    client: ArchiveClient,
    market: Market,
    kind: Kind,
    symbols: Iterable[str],
    *,
    interval: str = "",
    cadences: Sequence[Cadence] = tuple(Cadence),
    start_ms: int = 0,
    end_ms: int | None = None,
    done: Callable[[str], None] | None = None,
) -> list[Wanted]:
    """The files that hold rows in [start, end), in order of time and symbol; of a day that a month covers, the month.

    `done` is told of each symbol that is through.
    """
    entries: dict[ArchiveFile, Entry] = {}
    room = asyncio.Semaphore(_LISTINGS_AT_ONCE)

    async def ask(symbol: str) -> None:
        async with room:
            for cadence in cadences:
                if cadence is Cadence.DAILY and kind is Kind.FUNDING:
                    continue
                prefix = folder(market, kind, cadence, symbol, interval)
                # Names sort by date: there is no need to hear of the years before.
                first = ArchiveFile(market, kind, cadence, symbol, interval, _first_period(cadence, start_ms))
                after = first.key.removesuffix(".zip") if start_ms else ""
                for entry in await client.entries(prefix, after=after):
                    if (file := parse_key(entry.key)) is not None:
                        entries[file] = entry
            if done is not None:
                done(symbol)

    try:
        async with asyncio.TaskGroup() as tasks:
            for symbol in symbols:
                tasks.create_task(ask(symbol))
    except* ExchangeError as group:
        raise _first(group) from None
    return [Wanted(file, entries[file]) for file in covering(entries, start_ms=start_ms, end_ms=end_ms)]


def _first_period(cadence: Cadence, start_ms: int) -> int:
    return day_of(start_ms) if cadence is Cadence.DAILY else month_of(start_ms)


def _first(group: BaseExceptionGroup[ExchangeError]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def download(
    client: ArchiveClient,
    mirror: Mirror,
    files: Sequence[Wanted],
    *,
    clock: Clock,
    force: bool = False,
    parallel: int = 8,
    got: Callable[[int], None] | None = None,
    done: Callable[[Fetched], None] | None = None,
) -> list[Fetched]:
    """Bring `files` into the mirror; `force` accepts those whose published checksum is wrong.

    `got` is told of bytes as they come, `done` of each file. A file that cannot be had is an outcome, and the rest goes
    on. Raises Unwritable when the mirror's disk refuses, Blocked when the archive serves nobody here.
    """
    if parallel < 1:
        raise UsageError(f"--parallel {parallel} is less than 1.")
    results: dict[int, Fetched] = {}
    left: Iterator[tuple[int, Wanted]] = iter(enumerate(files))

    async def work() -> None:
        for number, wanted in left:
            try:
                fetched = await _one(client, mirror, wanted, clock=clock, force=force, got=got)
            except Blocked:
                raise
            except ExchangeError as error:
                fetched = Fetched(wanted, Outcome.FAILED, str(error))
            results[number] = fetched
            if done is not None:
                done(fetched)

    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(parallel, len(files))):
                tasks.create_task(work())
    except BaseExceptionGroup as group:
        raise _first(group) from None
    finally:
        await asyncio.to_thread(mirror.compact)
    return [results[number] for number in sorted(results)]


async def _one(
    client: ArchiveClient,
    mirror: Mirror,
    wanted: Wanted,
    *,
    clock: Clock,
    force: bool,
    got: Callable[[int], None] | None,
) -> Fetched:
    entry = wanted.entry
    before = mirror.kept(entry.key)
    if before is not None and before.is_of(entry):
        if before.verdict is not Verdict.QUARANTINED:
            return Fetched(wanted, Outcome.HAVE)
        published = await client.checksum(entry.key)  # it may have been mended
        if published == before.sha256 or force:
            verdict = Verdict.GOOD if published == before.sha256 else Verdict.FORCED
            kept = replace(before, published=published or "", verdict=verdict, fetched_ms=clock.now_ms())
            return await _keep(mirror, wanted, kept, mirror.quarantine(entry.key), Outcome.NEW)
        return Fetched(wanted, Outcome.QUARANTINED, _wrong(mirror, before))
    part = mirror.part(entry)
    mirror.make_room(part)
    published = await client.checksum(entry.key)
    sha256 = await client.fetch(entry.key, part, etag=entry.etag, got=got)
    if published is not None and sha256 != published:
        # It may have come to harm on its way, or file and checksum were just being replaced.
        await asyncio.to_thread(part.unlink, missing_ok=True)
        published = await client.checksum(entry.key)
        sha256 = await client.fetch(entry.key, part, etag=entry.etag)
    verdict = Verdict.UNCHECKED if published is None else Verdict.GOOD
    if published is not None and sha256 != published:
        verdict = Verdict.FORCED if force else Verdict.QUARANTINED
    size = (await asyncio.to_thread(part.stat)).st_size
    kept = Kept(entry.key, entry.last_modified_ms, entry.etag, size, sha256, published or "", verdict, clock.now_ms())
    return await _keep(mirror, wanted, kept, part, Outcome.NEW if before is None else Outcome.REPLACED)


async def _keep(mirror: Mirror, wanted: Wanted, kept: Kept, where: Path, outcome: Outcome) -> Fetched:
    await asyncio.to_thread(mirror.keep, kept, where)
    match kept.verdict:
        case Verdict.QUARANTINED:
            return Fetched(wanted, Outcome.QUARANTINED, _wrong(mirror, kept))
        case Verdict.FORCED:
            problem = f"its SHA-256 is {kept.sha256}, published is {kept.published}; accepted by --force"
        case Verdict.UNCHECKED:
            problem = "the archive publishes no checksum of it"
        case Verdict.GOOD:
            problem = ""
    return Fetched(wanted, outcome, problem)


def _wrong(mirror: Mirror, kept: Kept) -> str:
    return (
        f"its SHA-256 is {kept.sha256}, and the archive publishes {kept.published}. It is put aside at "
        f"{mirror.quarantine(kept.key)}; some published checksums are wrong, and --force accepts it as it is."
    )
