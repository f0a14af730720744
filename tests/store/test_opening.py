"""Opening: what is ours, what is not, and that nothing is changed before that is known."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from bmacdb.clock import ManualClock
from bmacdb.errors import FileHeld, NotABmacdbFile, SchemaTooNew, StoreError, StoreFull, Unwritable
from bmacdb.store.faults import committed_all_the_same, opening_error, writing_error
from bmacdb.store.schema import SCHEMA_VERSION
from bmacdb.store.writer import Store
from tests.store.support import FEED, START, opened, period, select, stored_candles

CLOCK = ManualClock(START)


async def open_store(path: Path) -> Store:
    return await Store.open(path, clock=CLOCK)


async def test_a_new_file_is_created_and_found_again(tmp_path: Path) -> None:
    """`created` tells the first opening from the second, and what was committed is there."""
    path = tmp_path / "bmac.duckdb"
    async with opened(path) as store:
        assert store.created
        await store.commit(period(0))
    async with opened(path) as store:
        assert not store.created
        assert len(await stored_candles(store)) == 5
        meta = dict(await select(store, "FROM main.meta"))
        assert meta["schema_version"] == str(SCHEMA_VERSION)
        assert meta["created_by"].startswith("bmacdb")


async def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    """NotABmacdbFile names the file, and its bytes stay as they are."""
    path = tmp_path / "notes.txt"
    path.write_text("no database at all\n" * 1000)
    before = path.read_bytes()
    with pytest.raises(NotABmacdbFile, match=r"notes\.txt"):
        await open_store(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("statement", ["CREATE TABLE orders (id INTEGER)", "CREATE TABLE meta (key VARCHAR)"])
async def test_a_database_of_something_else_is_left_alone(tmp_path: Path, statement: str) -> None:
    """Tables of somebody else's are named, and nothing is added to them."""
    path = tmp_path / "other.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute(statement)
    before = path.read_bytes()
    with pytest.raises(NotABmacdbFile, match="something else"):
        await open_store(path)
    assert path.read_bytes() == before


async def test_a_newer_schema_is_left_alone(tmp_path: Path) -> None:
    """SchemaTooNew says both versions and what to do."""
    path = tmp_path / "bmac.duckdb"
    async with opened(path) as store:
        await select(store, "UPDATE main.meta SET value = '99' WHERE key = 'schema_version'")
    before = path.read_bytes()
    with pytest.raises(SchemaTooNew, match=r"99.*upgrade"):
        await open_store(path)
    assert path.read_bytes() == before


async def test_a_directory_is_no_file(tmp_path: Path) -> None:
    """The message names a file that would do."""
    with pytest.raises(Unwritable, match=r"bmac\.duckdb"):
        await open_store(tmp_path)


async def test_a_missing_directory_is_said_to_be_missing(tmp_path: Path) -> None:
    """The message says how to make it; it is not made behind the user's back."""
    with pytest.raises(Unwritable, match="create it"):
        await open_store(tmp_path / "no" / "bmac.duckdb")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs a directory that nobody can write to")
async def test_a_directory_that_cannot_be_written_is_said_so() -> None:
    """Unwritable, with the remedy."""
    with pytest.raises(Unwritable, match="--db"):
        await open_store(Path("/proc/bmac.duckdb"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write anything")
async def test_a_file_that_may_only_be_read_is_unwritable(tmp_path: Path) -> None:
    """Unwritable, and not an error of DuckDB's own."""
    path = tmp_path / "bmac.duckdb"
    async with opened(path):
        pass
    path.chmod(0o400)
    with pytest.raises(Unwritable):
        await open_store(path)


async def test_a_file_held_by_another_process_names_it(tmp_path: Path) -> None:
    """FileHeld has the process id and the command line of the holder; when that is gone, the file opens."""
    path = tmp_path / "bmac.duckdb"
    async with opened(path):
        pass
    program = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(  # noqa: ASYNC220  # a moment
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        await asyncio.to_thread(holder.stdout.readline)
        with pytest.raises(FileHeld, match=r"held by") as caught:
            await open_store(path)
        if sys.platform != "win32":  # there the message names no process
            assert caught.value.pid == holder.pid
            assert "import duckdb" in str(caught.value)
        holder.stdin.close()
        await asyncio.to_thread(holder.wait)
    await (await open_store(path)).close()


async def test_a_second_store_in_one_process_is_refused(tmp_path: Path) -> None:
    """It would share the lock and drop it; the first goes on undisturbed, and after its close the file opens."""
    path = tmp_path / "bmac.duckdb"
    async with opened(path) as store:
        with pytest.raises(FileHeld, match="this very process"):
            await open_store(path)
        await store.commit(period(0))
    await (await open_store(path)).close()


async def test_a_refused_opening_leaves_nothing_behind(tmp_path: Path) -> None:
    """After an error the same path can be tried again in the same process."""
    path = tmp_path / "bmac.duckdb"
    path.write_text("not a database, and long enough to have a header\n" * 200)
    for _ in range(2):
        with pytest.raises(NotABmacdbFile):
            await open_store(path)
    path.unlink()
    await (await open_store(path)).close()


async def test_after_close_everything_is_an_error_and_nothing_hangs(tmp_path: Path) -> None:
    """close() twice is fine; whatever else is asked raises StoreError."""
    async with opened(tmp_path / "bmac.duckdb") as store:
        await store.commit(period(0))
        pending = [asyncio.create_task(store.commit(period(minute))) for minute in (1, 2)]
        await asyncio.sleep(0)
        await store.close()
        await asyncio.gather(*pending)  # asked for before the close, and done
        await store.close()
        for call in (
            lambda: store.commit(period(3)),
            lambda: store.latest(FEED),
            lambda: store.checkpoint(),
            lambda: store.run(lambda connection: None),
        ):
            with pytest.raises(StoreError, match="closed"):
                await call()
        with pytest.raises(StoreError):
            store.cursor()
    async with opened(tmp_path / "bmac.duckdb") as store:
        assert len(await stored_candles(store)) == 15
    assert not (tmp_path / "bmac.duckdb.wal").exists()


@pytest.mark.parametrize(
    ("text", "kind", "pid"),
    [
        (
            'IO Error: Could not set lock on file "/x/b.duckdb": Conflicting lock is held in /usr/bin/python3.11 '
            "(PID 999999999). See also https://duckdb.org/docs/stable/connect/concurrency",
            FileHeld,
            999999999,
        ),
        (
            'IO Error: Cannot open file "c:\\b.duckdb": The process cannot access the file because it is being used '
            "by another process.",
            FileHeld,
            None,
        ),
        ('IO Error: Cannot open file "/x/b.duckdb": Permission denied', Unwritable, None),
        ('IO Error: Cannot open file "/x/b.duckdb": Read-only file system', Unwritable, None),
        ('IO Error: Cannot open file "c:\\x": Access is denied.', Unwritable, None),
        ('IO Error: The file "/x" exists, but it is not a valid DuckDB database file!', NotABmacdbFile, None),
        ("IO Error: Could not write file: No space left on device", StoreFull, None),
        ("Catalog Error: something nobody thought of", StoreError, None),
    ],
)
def test_what_duckdb_says_on_opening_is_told_apart(text: str, kind: type[StoreError], pid: int | None) -> None:
    """Its words on Linux and on Windows each become the error that has the remedy."""
    error = opening_error(Path("b.duckdb"), duckdb.IOException(text))
    assert type(error) is kind
    if isinstance(error, FileHeld):
        assert error.pid == pid


def test_what_duckdb_says_on_writing_is_told_apart() -> None:
    """A full disk is StoreFull, a commit that outlived its checkpoint is recognised."""
    full = duckdb.TransactionException(
        'TransactionContext Error: Failed to commit: Could not write to file "b.wal": No space left on device'
    )
    assert isinstance(writing_error(Path("b.duckdb"), full), StoreFull)
    assert not committed_all_the_same(full)
    dead = duckdb.FatalException("FATAL Error: COMMIT succeeded and is durable, but the autocheckpoint failed")
    assert committed_all_the_same(dead)
