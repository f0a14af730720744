"""The two roads to the data: Quack to a live recorder, or the file itself, read-only."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
from pathlib import Path

import duckdb
import pyarrow as pa

from bmacdb.errors import FileHeld, NothingToRead, QueryFailed, QueryRefused, QueryTooLarge
from bmacdb.store.aside import aside
from bmacdb.store.extensions import load_quack
from bmacdb.store.faults import opening_error
from bmacdb.store.guard import LONGEST_QUERY
from bmacdb.store.literals import literal
from bmacdb.store.sidefile import Live

__all__ = ["LinkLost", "LiveLink", "ask_file"]

_LOST = re.compile(
    r"could not connect|server returned nothing|invalid connection id|connection (refused|reset|error)|"
    r"failed to (send|read|connect)|authentication failed|could not establish|timeout was reached|"
    r"database was closed|HTTP (GET|POST) error",
    re.I,
)
_TOO_LARGE = re.compile(r"(?:allocate|pin) (?:block|data) of size|out of memory", re.I)
_GOODBYE_S = 2.0
_REFUSED = re.compile(r"the recorder refuses this query: (.*)|authorization failed", re.I)


class LinkLost(Exception):
    """The recorder at the other end does not answer any more; nothing is wrong with the query."""


class LiveLink:
    """A kept connection to a live recorder; used from one thread at a time."""

    def __init__(self, live: Live) -> None:
        """Raises LinkLost when nobody answers, QueryFailed when this machine lacks the extensions."""
        self.live = live
        self._connection = duckdb.connect(":memory:", config={"threads": "1", "autoinstall_known_extensions": "false"})
        try:
            try:
                load_quack(self._connection)
            except duckdb.Error as error:
                raise NothingToRead(
                    f"a recorder (process {live.pid}) has the database, and this machine cannot speak to it: {error} "
                    "Install what is missing: pip install duckdb-extension-quack==1.5.5 duckdb-extension-httpfs==1.5.5."
                ) from error
            self._connection.execute("SET TimeZone = 'UTC'")
            # A query that is sent again would run twice at the recorder.
            self._connection.execute("SET http_retries = 0")
            try:
                self._connection.execute(f"ATTACH '{live.uri}' AS db (TYPE quack, TOKEN {literal(live.token)})")
            except duckdb.Error as error:
                raise LinkLost(str(error)) from error
        except BaseException:
            self._connection.close()
            raise
        self._busy = threading.Lock()

    def ask(self, query: str, timeout: float | None = None) -> pa.Table:
        """The answer to a query that runs at the recorder. Raises LinkLost, QueryRefused, QueryTooLarge, QueryFailed.

        With a timeout, or for somebody at a prompt, TimeoutError or Ctrl-C end the waiting; the link itself then still
        waits: leave it, with `close`. Otherwise the call is made right here, which is faster by a tenth.
        """
        text = f"FROM quack_query_by_name('db', {literal(query)})"

        def answer() -> pa.Table:
            with self._busy:
                return self._connection.execute(text).to_arrow_table()

        try:
            return answer() if timeout is None and not hasattr(sys, "ps1") else aside(answer, timeout)
        except duckdb.Error as error:
            raise _told(error, query) from error

    def close(self) -> None:
        """Say goodbye to the recorder, which else keeps the session; where an answer is awaited, once it is there."""

        def leave() -> None:
            with self._busy:
                with contextlib.suppress(duckdb.Error):
                    self._connection.execute("DETACH db")
                self._connection.close()

        with contextlib.suppress(TimeoutError):
            aside(leave, 0.0 if self._busy.locked() else _GOODBYE_S)


def ask_file(path: Path, query: str, timeout: float | None = None) -> pa.Table:
    """The answer to a query from a file at rest, which is closed again at once: a recorder may want to start.

    Raises FileHeld when a process has it for writing, NothingToRead, QueryFailed, TimeoutError and what `opening_error`
    tells.
    """
    if not path.exists():
        raise NothingToRead(
            f"{path} does not exist, and no recorder serves it: start one with bmacdb run, or give its path."
        )
    try:
        connection = duckdb.connect(path, read_only=True, config={"autoinstall_known_extensions": "false"})
    except duckdb.Error as error:
        problem = opening_error(path, error)
        if isinstance(problem, FileHeld):
            raise FileHeld(
                f"{path} is held by {f'process {problem.pid}' if problem.pid else 'another process'}, which does not "
                "answer readers (yet): if it is a recorder, it says at its start what it lacks for that.",
                pid=problem.pid,
            ) from error
        raise problem from error
    overdue = None if timeout is None else threading.Timer(timeout, connection.interrupt)
    try:
        connection.execute("SET TimeZone = 'UTC'")
        if overdue is not None:
            overdue.start()
        return connection.execute(query).to_arrow_table()
    except duckdb.InterruptException as error:
        raise TimeoutError from error
    except duckdb.Error as error:
        raise _told(error, query) from error
    except RuntimeError as error:  # as DuckDB calls Ctrl-C
        raise KeyboardInterrupt from error
    finally:
        if overdue is not None:
            overdue.cancel()
        connection.interrupt()  # after Ctrl-C, closing would wait for the query
        connection.close()


def _told(error: duckdb.Error, query: str) -> Exception:
    text = str(error)
    refused = _REFUSED.search(text)
    # Without memory even the guard fails, and Quack then refuses without a reason.
    if _TOO_LARGE.search(text) or (refused and not refused[1] and _is_query(query)):
        return QueryTooLarge(
            "the query needs more memory than is left for it (a live recorder gives 64 MB to all readers together): "
            "bound it by time and symbol, ask for less at a time, or ask again when others are through."
        )
    if refused:
        why = refused[1] or (
            "Only read queries run here: SELECT, FROM, WITH, DESCRIBE, SUMMARIZE and SHOW TABLES, one statement, not "
            "too long and not nested too deeply."
        )
        return QueryRefused(f"the recorder refuses this query: {why}")
    if _LOST.search(text):
        return LinkLost(text)
    shown = text.split("\n\nLINE 1: FROM quack_query_by_name")[0].strip()
    return QueryFailed(shown)


def _is_query(text: str) -> bool:
    """Whether DuckDB's parser takes a text for a query, as the guard does."""
    with duckdb.connect(":memory:") as connection:
        row = connection.execute("SELECT json_serialize_sql($1::VARCHAR)->>'$.error'", [text]).fetchone()
    return row is not None and row[0] == "false" and len(text.encode()) <= LONGEST_QUERY
