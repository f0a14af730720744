"""SIGINT and SIGTERM as a call: the first asks for a clean end, a second one has its usual effect."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

__all__ = ["stop_signals"]


@contextlib.contextmanager
def stop_signals(stop: Callable[[str], None]) -> Iterator[None]:
    """Within the block, the first SIGINT or SIGTERM calls `stop` with its name on the running loop.

    Outside the main thread, where signals cannot be caught, nothing is installed.
    """
    loop = asyncio.get_running_loop()
    before: dict[signal.Signals, object] = {}

    def restore() -> None:
        while before:
            number, handler = before.popitem()
            signal.signal(number, handler)  # type: ignore[arg-type]

    def caught(number: int, _: FrameType | None) -> None:
        restore()
        loop.call_soon_threadsafe(stop, signal.Signals(number).name)

    # Plain handlers and not the loop's own, which Windows does not have.
    with contextlib.suppress(ValueError):
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, caught)
    try:
        yield
    finally:
        restore()
