"""Work on many columns in as many threads as there are cores. It pays for what runs without Python's lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

__all__ = ["cores", "in_threads"]


def cores() -> int:
    """The cores that this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed is not None else os.cpu_count() or 1


def in_threads(work: Callable[[range], None], count: int) -> None:
    """Calls `work` with ranges that are 0 to count - 1 together. The threads end with it, as a fork would lose them."""
    number = min(cores(), count)
    if number < 2:
        work(range(count))
        return
    bounds = [count * part // number for part in range(number + 1)]
    with ThreadPoolExecutor(number, "bmacdb-columns") as pool:
        for _ in pool.map(work, map(range, bounds[:-1], bounds[1:])):
            pass
