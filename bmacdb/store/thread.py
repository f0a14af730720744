"""One thread that does all the writing, awaited from the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from bmacdb.errors import StoreError

__all__ = ["WriterThread"]

_T = TypeVar("_T")


class WriterThread:
    """Runs work in the order in which it was asked for, one piece at a time.

    What was asked for is done, also when the task that waits for it is cancelled meanwhile: a transaction is
    never interrupted, and the cancelled task does not learn its outcome.
    """

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._closed = False

    def __repr__(self) -> str:
        return f"<WriterThread {'closed' if self._closed else 'open'}>"

    @property
    def closed(self) -> bool:
        return self._closed

    async def run(self, work: Callable[[], _T]) -> _T:
        """Do `work` in the thread. Raises StoreError when the thread has ended or is about to."""
        if self._closed:
            raise StoreError("the database was closed; open it again to go on.")
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._executor, work))

    async def end(self, last: Callable[[], None]) -> None:
        """Do what was asked for so far, then `last`, and end the thread; nothing is taken any more from here on."""
        work = asyncio.get_running_loop().run_in_executor(self._executor, last)
        self.end_soon()
        await asyncio.shield(work)

    def end_soon(self) -> None:
        """End the thread after what was asked for so far; may be called in the thread itself."""
        self._closed = True
        self._executor.shutdown(wait=False)
