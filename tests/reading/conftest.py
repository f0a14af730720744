"""A served database, in this process and in one of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bmacdb.clock import SystemClock
from bmacdb.model import Batch
from bmacdb.store.serve import Server
from bmacdb.store.writer import Store
from tests.reading.feeding import FEED, FIRST_MS, MINUTE_MS, period


@dataclass
class Served:
    """A Store and the Server on it, with three periods of three symbols."""

    store: Store
    server: Server

    @property
    def path(self) -> Path:
        return self.store.path

    async def commit(self, batch: Batch) -> None:
        self.server.announce(batch, await self.store.commit(batch))


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    store = await Store.open(tmp_path / "bmac.duckdb", clock=SystemClock())
    await store.add_feed(FEED, num_candles=100)
    server = await Server.start(store, clock=SystemClock(), info=lambda: {"version": "test"})
    found = Served(store, server)
    for place in range(3):
        await found.commit(period(FIRST_MS + place * MINUTE_MS))
    yield found
    await server.close()
    await store.close()


@pytest.fixture
def start_recorder(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts the stand-in recorder in a process of its own, on `tmp_path / "bmac.duckdb"`."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.reading.feeding", str(tmp_path / "bmac.duckdb")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "serving\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
