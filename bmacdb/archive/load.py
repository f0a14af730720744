"""Import: files of the archive into the record. A file is checked whole before anything of it is written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pyarrow as pa

from bmacdb.archive.csvfile import ENDINGS, csv_of
from bmacdb.archive.layout import ArchiveFile, Kind, covering, parse_key, parse_name
from bmacdb.archive.members import delivered_ms, members
from bmacdb.archive.mirror import Mirror
from bmacdb.archive.sink import Sink
from bmacdb.archive.table import Parsed, parse_funding, parse_klines
from bmacdb.clock import Clock
from bmacdb.errors import Malformed, UsageError
from bmacdb.model import Feed, SymbolInfo

__all__ = ["Found", "Loaded", "State", "Totals", "find_files", "in_mirror", "load", "read_file"]

_GROUP_ROWS = 500_000  # a transaction into a file at rest; DuckDB then writes it once, past its log
_GROUP_FILES = 500


@dataclass(frozen=True, slots=True)
class Found:
    """A file on this machine, and which of the archive's it is. `problem` says why it cannot go into the feed;
    `delivered_ms`: when its contract is delivered, where that is known."""

    path: Path
    file: ArchiveFile | None
    problem: str = ""
    delivered_ms: int | None = None

    @classmethod
    def of(cls, mirror: Mirror, file: ArchiveFile, known: Mapping[str, SymbolInfo] | None) -> Found:
        """The mirror's copy of a file."""
        return cls(mirror.path(file.key), file, delivered_ms=delivered_ms(file.symbol, known))


class State(StrEnum):
    """What became of a file."""

    LOADED = "loaded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Loaded:
    """One file: its rows, those that were new and those that differed from what was recorded (None: the recorder that
    took them does not say)."""

    path: Path
    state: State
    rows: int = 0
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Totals:
    """What an import came to."""

    files: int = 0
    rows: int = 0
    added: int | None = 0
    changed: int | None = 0


def find_files(
    paths: Iterable[Path], feed: Feed, *, known: Mapping[str, SymbolInfo] | None = None
) -> tuple[list[Found], list[Found]]:
    """The files that `paths` name, and those in directories among them: (those of the feed, those of others).

    What a directory holds for other feeds is no problem; a file that is named by itself has one when it does not fit.
    Raises UsageError for a path that is not there.
    """
    fitting: dict[Path, Found] = {}
    others: list[Found] = []
    for path in paths:
        if path.is_dir():
            for inside in sorted(_inside(path)):
                found = _judge(inside, feed, known)
                if found.file is None or found.problem:
                    others.append(found)
                else:
                    fitting[inside] = found
        elif path.is_file():
            fitting[path] = _judge(path, feed, known)
        else:
            raise UsageError(f"{path} does not exist: name files or directories of the archive.")
    return _ordered(fitting.values()), others


def _inside(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.name.endswith(ENDINGS) and "quarantine" not in path.relative_to(folder).parts:
            yield path


def _ordered(found: Iterable[Found]) -> list[Found]:
    """In order of time, so that the record is too, a month's days before the month; what cannot be read at the end."""

    def place(one: Found) -> tuple[int, str, int]:
        file = one.file
        return (1 << 62, str(one.path), 0) if file is None else (file.start_ms, file.symbol, file.end_ms)

    return sorted(found, key=place)


def _judge(path: Path, feed: Feed, known: Mapping[str, SymbolInfo] | None) -> Found:
    """Which file of the archive it is, by its place or its name alone."""
    parts = path.parts
    placed = next(
        (file for at, part in enumerate(parts) if part == "data" and (file := parse_key("/".join(parts[at:])))), None
    )
    file = placed or parse_name(path.name, feed.market)
    if file is None:
        name = "BTCUSDT-1m-2026-02.zip"
        return Found(path, None, f"{path} is not named like {name}, so its symbol, interval and time are unknown.")
    if file.market is not feed.market:
        return Found(path, file, f"{path} is of {file.market}, and {feed.name} records {feed.market}.")
    if file.kind is Kind.KLINES and file.interval != feed.interval.name:
        return Found(path, file, f"{path} holds bars of {file.interval}, and {feed.name} records {feed.interval.name}.")
    if not members(feed.trade_type, [file.symbol], known):
        return Found(path, file, f"{path}: {file.symbol} is no symbol of {feed.trade_type}.")
    return Found(path, file, delivered_ms=delivered_ms(file.symbol, known))


def in_mirror(
    mirror: Mirror,
    feed: Feed,
    *,
    symbols: Collection[str] | None = None,
    funding: bool = False,
    start_ms: int = 0,
    end_ms: int | None = None,
    known: Mapping[str, SymbolInfo] | None = None,
) -> list[Found]:
    """The mirror's files of a feed: klines, or settled funding rates."""
    kind, interval = (Kind.FUNDING, "") if funding else (Kind.KLINES, feed.interval.name)
    there = [
        file
        for file, _ in mirror.all()
        if (file.market, file.kind, file.interval) == (feed.market, kind, interval) and mirror.path(file.key).is_file()
    ]
    if symbols is None:
        wanted = frozenset(members(feed.trade_type, {file.symbol for file in there}, known))
    else:
        wanted = frozenset(symbols)
    return [
        Found.of(mirror, file, known)
        for file in covering((file for file in there if file.symbol in wanted), start_ms=start_ms, end_ms=end_ms)
    ]


def read_file(found: Found, feed: Feed, *, closed_by_ms: int | None = None) -> Parsed:
    """The rows of a file. Raises Malformed."""
    file, what = found.file, str(found.path)
    if file is None or found.problem:
        raise Malformed(found.problem)
    data = csv_of(found.path)
    if file.kind is Kind.FUNDING:
        return parse_funding(data, symbol=file.symbol, what=what)
    return parse_klines(
        data,
        symbol=file.symbol,
        interval=feed.interval,
        what=what,
        start_ms=file.start_ms,
        end_ms=file.end_ms,
        closed_by_ms=closed_by_ms,
        delivered_ms=found.delivered_ms,
    )


@dataclass(slots=True)
class _Group:
    """Files that go into one transaction: no bar is in two of them."""

    files: list[tuple[Found, Parsed]]
    rows: int = 0

    def fits(self, file: ArchiveFile, parsed: Parsed, most_rows: int) -> bool:
        if not self.files:
            return True
        first = self.files[0][0].file
        return (
            first is not None
            and first.kind is file.kind
            and self.rows + parsed.table.num_rows <= most_rows
            and len(self.files) < _GROUP_FILES
            and not any(_overlap(one.file, file) for one, _ in self.files)
        )

    @property
    def table(self) -> pa.Table:
        return pa.concat_tables([parsed.table for _, parsed in self.files])


def _overlap(one: ArchiveFile | None, other: ArchiveFile) -> bool:
    return (
        one is not None and one.symbol == other.symbol and one.start_ms < other.end_ms and other.start_ms < one.end_ms
    )


async def load(
    files: Sequence[Found],
    sink: Sink,
    *,
    clock: Clock,
    done: Callable[[Loaded], None] | None = None,
) -> tuple[list[Loaded], Totals]:
    """Import files in their order. One that is damaged is an outcome, and the rest goes on.

    Of a day that a month among them covers, the month alone is taken. Raises StoreError when the database cannot be
    written: what was told as done is in it, and of the others nothing (of the one at hand, where a recorder takes the
    rows, perhaps the beginning; the same import again completes it).
    """
    results: list[Loaded] = []
    totals = Totals()
    files, covered = _without_covered(files)
    for found in covered:
        results.append(Loaded(found.path, State.LOADED, 0, ("left out: its month is there as well",)))
        if done is not None:
            done(results[-1])
    groups = _groups(files, sink.feed, 1 if sink.live else _GROUP_ROWS, clock, results, done)
    following = asyncio.create_task(asyncio.to_thread(next, groups, None))
    try:
        while (group := await following) is not None:
            following = asyncio.create_task(asyncio.to_thread(next, groups, None))  # read on while this one is written
            await _write(group, sink, totals)
            for found, parsed in group.files:
                results.append(Loaded(found.path, State.LOADED, parsed.table.num_rows, parsed.notes))
                if done is not None:
                    done(results[-1])
    finally:
        await asyncio.gather(following, return_exceptions=True)
    return results, totals


async def _write(group: _Group, sink: Sink, totals: Totals) -> None:
    table, first = group.table, group.files[0][0].file
    funding = first is not None and first.kind is Kind.FUNDING
    written = await (sink.funding(table) if funding else sink.archived(table))
    totals.files += len(group.files)
    totals.rows += table.num_rows
    if written is None or totals.added is None or totals.changed is None:
        totals.added = totals.changed = None
    else:
        totals.added += written.added
        totals.changed += written.changed


def _without_covered(files: Sequence[Found]) -> tuple[list[Found], list[Found]]:
    kept = set(covering(one.file for one in files if one.file is not None))
    return (
        [one for one in files if one.file is None or one.problem or one.file in kept],
        [one for one in files if one.file is not None and not one.problem and one.file not in kept],
    )


def _groups(
    files: Sequence[Found],
    feed: Feed,
    most_rows: int,
    clock: Clock,
    results: list[Loaded],
    done: Callable[[Loaded], None] | None,
) -> Iterator[_Group]:
    """The files that can be read, in groups; those that cannot are told of as they come up."""
    group = _Group([])
    for found in files:
        try:
            parsed = read_file(found, feed, closed_by_ms=clock.now_ms())
        except Malformed as error:
            results.append(Loaded(found.path, State.FAILED, 0, (str(error),)))
            if done is not None:
                done(results[-1])
            continue
        if found.file is not None and not group.fits(found.file, parsed, most_rows):
            yield group
            group = _Group([])
        group.files.append((found, parsed))
        group.rows += parsed.table.num_rows
    if group.files:
        yield group
