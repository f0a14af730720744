"""The error tree. Every message says what happened, the value seen, and the remedy.

BmacdbError
├── UsageError              what the user asked for cannot be (exit status 2)
│   └── ConfigError         the same, with the place in a file
├── ExchangeError           the exchange did not answer as hoped
│   ├── Unreachable         no connection, time-out, 5xx: try again
│   ├── RateLimited         429 or 418: wait until `until_ms`
│   ├── Blocked             451 or 403: the exchange does not serve this address
│   ├── Malformed           a body or frame that does not parse
│   └── Rejected            the exchange understood and refused (code, message)
├── Stalled                 the recorder stood still and could not mend it: start it again
└── StoreError              the database file
    ├── FileHeld            another process has it open
    ├── NotABmacdbFile      no DuckDB file, or one of something else
    ├── SchemaTooNew        written by a newer bmacdb
    ├── Unwritable          directory or file cannot be written
    ├── StoreFull           no space left; what was committed is safe
    └── ReadError           a reader could not get what it asked for
        ├── QueryFailed     the query itself: syntax, names, types, memory
        │   ├── QueryRefused  a live recorder answers questions, and this was none
        │   └── QueryTooLarge  it needs more memory than there is for it
        ├── QueryTooSlow    no answer in the time that was given
        └── NothingToRead   neither a recorder that answers nor a file that opens
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "Blocked",
    "BmacdbError",
    "ConfigError",
    "ExchangeError",
    "FileHeld",
    "Malformed",
    "NotABmacdbFile",
    "NothingToRead",
    "QueryFailed",
    "QueryRefused",
    "QueryTooLarge",
    "QueryTooSlow",
    "RateLimited",
    "ReadError",
    "Rejected",
    "SchemaTooNew",
    "Stalled",
    "StoreError",
    "StoreFull",
    "Unreachable",
    "Unwritable",
    "UsageError",
    "did_you_mean",
]


def did_you_mean(value: str, known: Iterable[str]) -> str:
    """' Did you mean usdt_deli?' for the nearest of `known`, or '' when nothing is near."""
    near = get_close_matches(value.lower(), list(known), n=1, cutoff=0.6)
    return f" Did you mean {near[0]}?" if near else ""


class BmacdbError(Exception):
    """Root of everything bmacdb raises on purpose."""


class UsageError(BmacdbError):
    """A value that cannot be used; nothing was touched."""


class ConfigError(UsageError):
    """A setting that cannot be used, and where it stands."""

    def __init__(self, place: str, problem: str) -> None:
        self.place, self.problem = place, problem
        super().__init__(f"{place}: {problem}")


class ExchangeError(BmacdbError):
    """The exchange did not answer as hoped."""

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed later."""
        return True


class Unreachable(ExchangeError):
    """No connection, a time-out or a server error."""


class RateLimited(ExchangeError):
    """429 or 418. `until_ms` is the server time from which requests may go on; `banned` marks a 418."""

    def __init__(self, message: str, *, until_ms: int, banned: bool) -> None:
        self.until_ms, self.banned = until_ms, banned
        super().__init__(message)


class Blocked(ExchangeError):
    """451 (`by_law`) or 403: the exchange or its firewall does not serve this address."""

    def __init__(self, message: str, *, by_law: bool = False) -> None:
        self.by_law = by_law
        super().__init__(message)


class Malformed(ExchangeError):
    """A body or frame that does not parse."""


class Rejected(ExchangeError):
    """The exchange understood and refused; `code` is its own (-1121: no such symbol)."""

    def __init__(self, message: str, *, code: int) -> None:
        self.code = code
        super().__init__(message)

    @property
    def transient(self) -> bool:
        return False


class Stalled(BmacdbError):
    """The recorder made no progress for long and could not mend it; a new start goes on from what is committed."""


class StoreError(BmacdbError):
    """The database file cannot be used as asked."""


class FileHeld(StoreError):
    """Another process holds the file; `pid` where it could be found."""

    def __init__(self, message: str, *, pid: int | None = None) -> None:
        self.pid = pid
        super().__init__(message)


class NotABmacdbFile(StoreError):
    """The file is no DuckDB database, or a database of something else."""


class SchemaTooNew(StoreError):
    """The file was written by a newer bmacdb."""


class Unwritable(StoreError):
    """The directory or the file cannot be written."""


class StoreFull(StoreError):
    """No space left. What was committed is safe; the batch at hand was rolled back."""


class ReadError(StoreError):
    """A reader could not get what it asked for."""


class QueryFailed(ReadError):
    """The query cannot be answered: its syntax, its names or types, or the memory it would take."""


class QueryRefused(QueryFailed):
    """A live recorder answers queries alone; this was something else, or reached for files, settings or secrets."""


class QueryTooLarge(QueryFailed):
    """The query needs more memory than the recorder, or this machine, has left for it."""


class QueryTooSlow(ReadError):
    """The answer was not there in the time that its asker had."""


class NothingToRead(ReadError):
    """Neither a recorder that answers nor a file that can be opened."""
