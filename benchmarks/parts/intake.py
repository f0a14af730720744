"""Websocket intake beside `json.loads` of every frame, in frames for each second of processor time."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Iterator
from pathlib import Path

from benchmarks.intake import SYMBOLS, frame, serve, with_json, with_listener
from benchmarks.measured import Row
from benchmarks.parts.limits import json_ms_per_mb

__all__ = ["measure"]


def measure(full: bool, folder: Path) -> Iterator[Row]:
    """Unclosed frames, then closed ones; the sender is a process of its own."""
    rounds, seconds = (7, 4.0) if full else (3, 1.5)
    context = multiprocessing.get_context("spawn")
    for closed in (False, True):
        here, there = context.Pipe()
        sender = context.Process(target=serve, args=(there, closed), daemon=True)
        sender.start()
        url = f"ws://127.0.0.1:{here.recv()}/market/stream"
        ours, theirs = [], []
        try:
            for _ in range(rounds):
                ours.append(asyncio.run(with_listener(url, seconds)))
                theirs.append(asyncio.run(with_json(url, seconds)))
        finally:
            sender.terminate()
            sender.join()
        size = len(frame(SYMBOLS[0], closed=closed)) - 4
        best = 1e9 / (json_ms_per_mb() * size)
        work = f"{'closed' if closed else 'unclosed'} kline frames, a core"
        limit = ("parsing them as JSON alone", best)
        yield Row("intake", work, "frames/s", tuple(ours), {"json.loads of each": tuple(theirs)}, True, limit)
