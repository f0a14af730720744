"""The sending end of the stream: a ZeroMQ XPUB socket.

Rows are encoded only for topics that somebody subscribed to; numbers count on all the same. Sending never blocks: a
subscriber that is HIGH_WATER_MARK messages behind loses the next ones, and sees it by the numbers.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import suppress

import pyarrow as pa
import zmq

from bmacdb.model import EXGINFO_ITEM, FUNDING_ITEM, Batch, Run, RunState
from bmacdb.stream.messages import HEARTBEAT, INFO, encode, encode_rows, topic_of

__all__ = ["HEARTBEAT_SECONDS", "HIGH_WATER_MARK", "MOST_ROWS", "Publisher"]

HEARTBEAT_SECONDS = 1.0

HIGH_WATER_MARK = 500
"""Messages that wait for one subscriber at each end; the next ones are dropped."""

MOST_ROWS = 1_000
"""The rows of one message, some 120 kB. More rows are several messages, so that what waits for a subscriber that does
not read stays below HIGH_WATER_MARK times this, 60 MB at worst; all subscribers share the same copy."""

_RUNS_KEPT = 3
_TABLES = ("exginfo", "funding_rates", "funding_snapshots", "candles")
"""The tables whose rows are published, in the order of their messages within a commit."""


class Publisher:
    """Used from one thread; never blocks."""

    def __init__(self, port: int, *, deadline_ms: int = 40_000) -> None:
        """Bind loopback's `port`. A run time is late `deadline_ms` after its boundary. Raises OSError when the port is
        taken."""
        self.port, self._deadline_ms = port, deadline_ms
        self.epoch = secrets.token_hex(8)
        self._numbers: dict[str, int] = {}
        self._commits = 0
        self._wanted: set[str] = set()  # beginnings of topics that are subscribed to
        self._complete: dict[str, int] = {}
        self._items: dict[str, dict[int, list[str]]] = {}  # of the newest run times of each feed
        self._states: dict[str, dict[int, RunState]] = {}  # as published, of the same run times
        self._context = zmq.Context(io_threads=1)
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.LINGER, 100)
        self._socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
        try:
            self._socket.bind(f"tcp://127.0.0.1:{port}")
        except zmq.ZMQError as error:
            self.close()
            raise OSError(error.errno, f"port {port} cannot be bound: {error}") from error

    def publish_on(self, address: str, secret_key: str | None = None) -> None:
        """Publish on `address` (tcp://HOST:PORT) too. With a secret CURVE key what is sent there is encrypted, and only
        those who know the public key that belongs to it get anything. Raises OSError."""
        if secret_key is not None:  # counts for what is bound from now on: loopback stays as it is
            self._socket.setsockopt(zmq.CURVE_SECRETKEY, secret_key.encode())
            self._socket.setsockopt(zmq.CURVE_SERVER, 1)
        try:
            self._socket.bind(address)
        except zmq.ZMQError as error:
            raise OSError(error.errno, f"{address} cannot be bound: {error}") from error

    def commit(self, batch: Batch, written: Mapping[str, pa.Table] | None = None) -> None:
        """Publish a committed batch: the rows that were `written` to each table, and what became ready.

        Where it is not known which of its rows were (None), a number of each topic is left out, and subscribers read
        the database again.
        """
        self._commits += 1
        for name in _TABLES:
            if written is not None:
                if name in written:
                    self._rows(topic_of(name, batch.feed), written[name])
            elif getattr(batch, name):
                self.leave_out(topic_of(name, batch.feed))
        self._readiness(batch)

    def update(self, feed: str, rows: pa.Table) -> None:
        """Publish candles that are still open, as they are now."""
        self._rows(topic_of("updates", feed), rows)

    def leave_out(self, topic: str) -> None:
        """Count a message that is not sent: whoever follows the topic notices, and reads the database again."""
        self._numbers[topic] = self._numbers.get(topic, 0) + 1

    def heartbeat(self, now_ms: int, info: Mapping[str, object], *, rate: float = 1.0) -> None:
        """Publish that the recorder lives, and the last number of every topic, by which a lost last message is seen."""
        numbers = {topic: number for topic, number in self._numbers.items() if topic not in (HEARTBEAT, INFO)}
        header = {"now_ms": now_ms, "rate": rate, "complete": self._complete, "numbers": numbers}
        self._send(HEARTBEAT, header)
        self._send(INFO, info)

    def wanted(self, topic: str) -> bool:
        """Whether somebody subscribed to `topic`."""
        with suppress(zmq.Again):
            while True:
                change = self._socket.recv(zmq.DONTWAIT)
                beginning = change[1:].decode(errors="replace")
                if change[:1] == b"\1":
                    self._wanted.add(beginning)
                elif change[:1] == b"\0":
                    self._wanted.discard(beginning)
        return topic.startswith(tuple(self._wanted))

    def _rows(self, topic: str, rows: pa.Table) -> None:
        for start in range(0, rows.num_rows, MOST_ROWS):
            part = rows.slice(start, MOST_ROWS)
            self._send(topic, {"commit": self._commits, "rows": part.num_rows}, part)

    def _readiness(self, batch: Batch) -> None:
        by_run: dict[int, list[str]] = {}
        for row in batch.ready:
            by_run.setdefault(row.run_time_ms, []).append(row.item)
        known = self._items.setdefault(batch.feed, {})
        for run_time_ms, items in by_run.items():
            self._send(topic_of("ready", batch.feed), {"run_time_ms": run_time_ms, "items": items})
            known.setdefault(run_time_ms, []).extend(items)
        for run in batch.runs:
            self._state(batch.feed, run, known.get(run.run_time_ms, []))
        for old in sorted(known)[:-_RUNS_KEPT]:
            del known[old]

    def _state(self, feed: str, run: Run, there: list[str]) -> None:
        published = self._states.setdefault(feed, {})
        if run.state is RunState.OPEN or published.get(run.run_time_ms) == run.state:
            return
        published[run.run_time_ms] = run.state
        for old in sorted(published)[:-_RUNS_KEPT]:
            del published[old]
        items = None
        if run.state is RunState.COMPLETE:
            self._complete[feed] = max(run.run_time_ms, self._complete.get(feed, 0))
            # A recorder that started within the period does not know of what came before.
            items = there if len(set(there) - {EXGINFO_ITEM, FUNDING_ITEM}) >= run.ready else None
        deadline_ms = run.run_time_ms + self._deadline_ms
        header = {"run_time_ms": run.run_time_ms, "state": run.state, "deadline_ms": deadline_ms, "items": items}
        missing = [] if run.state is RunState.COMPLETE else sorted(set(run.missing) - set(there))
        # By these a subscriber sees, before it computes, that rows of this market were lost on their way.
        numbers = {topic: self._numbers.get(topic, 0) for name in _TABLES for topic in [topic_of(name, feed)]}
        self._send(topic_of("complete", feed), header | {"stragglers": missing, "numbers": numbers})

    def _send(self, topic: str, header: Mapping[str, object], rows: pa.Table | None = None) -> None:
        self.leave_out(topic)
        if self.wanted(topic):
            header = {"epoch": self.epoch, "number": self._numbers[topic], **header}
            body = None if rows is None else encode_rows(rows)
            self._socket.send_multipart(encode(topic, header, body), zmq.DONTWAIT)  # drops rather than blocks

    def close(self) -> None:
        self._socket.close()
        self._context.term()
