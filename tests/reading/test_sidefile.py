"""The side file tells of a live recorder, and of no other."""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from bmacdb.errors import Unwritable
from bmacdb.store import sidefile


@pytest.fixture
def live() -> sidefile.Live:
    return sidefile.Live(
        port=9720,
        events_port=9721,
        token="0123456789abcdef",
        pid=os.getpid(),
        pid_started=sidefile.process_start(os.getpid()),
        started_ms=0,
        version="1",
    )


def test_written_read_and_removed(tmp_path: Path, live: sidefile.Live) -> None:
    """What was written is found, by every name of the database, until it is removed; nothing else lies about."""
    database = tmp_path / "bmac.duckdb"
    database.touch()
    sidefile.write(database, live)
    assert sidefile.find(database) == live
    assert "0123456789abcdef" not in repr(live)
    if hasattr(os, "symlink") and sys.platform != "win32":
        (tmp_path / "other.duckdb").symlink_to(database)
        assert sidefile.find(tmp_path / "other.duckdb") == live
    sidefile.remove(database, live)
    assert sidefile.find(database) is None
    assert not list(tmp_path.glob("*.live*"))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")
def test_readable_by_its_owner_alone(tmp_path: Path, live: sidefile.Live) -> None:
    """Mode 0600, whatever the umask."""
    before = os.umask(0)
    try:
        sidefile.write(tmp_path / "bmac.duckdb", live)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "bmac.duckdb.live").stat().st_mode) == 0o600


def test_a_stale_one_is_no_recorder(tmp_path: Path, live: sidefile.Live) -> None:
    """A process that is gone, or a process id that another has since, and files that make no sense: nobody is alive."""
    database = tmp_path / "bmac.duckdb"
    assert sidefile.find(database) is None
    gone = next(pid for pid in range(300_000, 10**6) if not psutil.pid_exists(pid))
    sidefile.write(database, replace(live, pid=gone))
    assert sidefile.find(database) is None
    sidefile.write(database, replace(live, pid_started=live.pid_started - 3600))
    assert sidefile.find(database) is None
    for text in ("", "{}", "[1]", '{"port": 1}'):
        sidefile.side_path(database).write_text(text, encoding="utf-8")
        assert sidefile.find(database) is None


def test_the_next_recorders_file_stays(tmp_path: Path, live: sidefile.Live) -> None:
    """A recorder removes its own side file, not the one that another has put in its place."""
    database = tmp_path / "bmac.duckdb"
    sidefile.write(database, replace(live, token="another"))
    sidefile.remove(database, live)
    assert sidefile.read(database) is not None


def test_an_unwritable_directory_is_told(tmp_path: Path, live: sidefile.Live) -> None:
    """No directory, no side file: the message says what readers lack."""
    with pytest.raises(Unwritable, match="readers find the recorder"):
        sidefile.write(tmp_path / "none" / "bmac.duckdb", live)
