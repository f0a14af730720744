"""Events: what wakes readers, on a ZeroMQ PUB socket on loopback.

A message is a topic and a JSON object. Topics:

    ready/FEED       {"run_time_ms", "items": [...]}     committed just now
    complete/FEED    {"run_time_ms", "items": [...] or null}   the whole market is there; null: look which it is
    beat             {"now_ms", "rate", "complete": {FEED: newest complete run_time_ms}}   once a second; `rate` is how
                     much faster than this machine's the exchange's clock runs, which is 1 but for a stand-in
    info             what the recorder tells of itself; once a second

What an event says is committed. But one may be lost (a subscriber joins late, a queue is full), so a reader looks into
the table after it has subscribed, and the beat tells it of what it missed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import zmq

from bmacdb.model import EXGINFO_ITEM, FUNDING_ITEM, Batch

__all__ = ["BEAT", "INFO", "Publisher", "Subscription", "complete_topic", "ready_topic"]

BEAT = "beat"
INFO = "info"
BEAT_SECONDS = 1.0

_RUNS_KEPT = 3
_WAITING_MESSAGES = 1000  # a subscriber this far behind loses the next ones, and hears of it by the beat


def ready_topic(feed: str) -> str:
    return f"ready/{feed}"


def complete_topic(feed: str) -> str:
    return f"complete/{feed}"


class Publisher:
    """The sending end; used from one thread, never blocks."""

    def __init__(self, port: int) -> None:
        """Bind loopback's `port`. Raises OSError when it is taken."""
        self.port = port
        self._complete: dict[str, int] = {}
        self._items: dict[str, dict[int, list[str]]] = {}  # of the newest run times of each feed
        self._context = zmq.Context(io_threads=1)
        self._socket = self._context.socket(zmq.PUB)
        self._socket.setsockopt(zmq.LINGER, 100)
        self._socket.setsockopt(zmq.SNDHWM, _WAITING_MESSAGES)
        try:
            self._socket.bind(f"tcp://127.0.0.1:{port}")
        except zmq.ZMQError as error:
            self.close()
            raise OSError(error.errno, f"port {port} cannot be bound: {error}") from error

    def batch(self, batch: Batch) -> None:
        """Tell what a committed batch made ready."""
        by_run: dict[int, list[str]] = {}
        for row in batch.ready:
            by_run.setdefault(row.run_time_ms, []).append(row.item)
        known = self._items.setdefault(batch.feed, {})
        for run_time_ms, items in by_run.items():
            self._send(ready_topic(batch.feed), {"run_time_ms": run_time_ms, "items": items})
            known.setdefault(run_time_ms, []).extend(items)
        for run in batch.runs:
            if run.complete_at_ms is not None:
                self._complete[batch.feed] = max(run.run_time_ms, self._complete.get(batch.feed, 0))
                # A recorder that started within the period does not know of what came before.
                there = known.get(run.run_time_ms, [])
                symbols = len(set(there) - {EXGINFO_ITEM, FUNDING_ITEM})
                told = {"run_time_ms": run.run_time_ms, "items": there if symbols >= run.ready else None}
                self._send(complete_topic(batch.feed), told)
        for old in sorted(known)[:-_RUNS_KEPT]:
            del known[old]

    def beat(self, now_ms: int, info: Mapping[str, object], *, rate: float = 1.0) -> None:
        """The sign of life."""
        self._send(BEAT, {"now_ms": now_ms, "rate": rate, "complete": self._complete})
        self._send(INFO, info)

    def _send(self, topic: str, body: Mapping[str, object]) -> None:
        # A PUB socket drops rather than blocks.
        self._socket.send_multipart([topic.encode(), json.dumps(body).encode()], zmq.DONTWAIT)

    def close(self) -> None:
        self._socket.close()
        self._context.term()


class Subscription:
    """The receiving end; used from one thread at a time."""

    def __init__(self, address: str, topics: Iterable[str]) -> None:
        # The process's own context: a reader with many waits needs no threads for each.
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVHWM, _WAITING_MESSAGES)
        for topic in topics:
            self._socket.setsockopt(zmq.SUBSCRIBE, topic.encode())
        self._socket.connect(address)

    def receive(self, seconds: float) -> tuple[str, dict[str, Any]] | None:
        """The next event; None when none comes within `seconds`."""
        if not self._socket.poll(max(0, round(seconds * 1000)), zmq.POLLIN):
            return None
        topic, body = self._socket.recv_multipart(zmq.DONTWAIT)
        return topic.decode(), json.loads(body)

    def close(self) -> None:
        self._socket.close()
