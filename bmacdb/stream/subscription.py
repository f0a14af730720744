"""The receiving end of the stream."""

from __future__ import annotations

from collections.abc import Iterable

import zmq

from bmacdb.stream.messages import Message, decode
from bmacdb.stream.publisher import HIGH_WATER_MARK

__all__ = ["Subscription"]


class Subscription:
    """Receives the messages of `topics` (each a beginning of the topics meant); used from one thread at a time."""

    def __init__(self, address: str, topics: Iterable[str]) -> None:
        # The process's own context: many subscriptions need no threads for each.
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVHWM, HIGH_WATER_MARK)
        for topic in topics:
            self._socket.setsockopt(zmq.SUBSCRIBE, topic.encode())
        self._socket.connect(address)

    def receive(self, seconds: float) -> Message | None:
        """The next message; None when none comes within `seconds`. Raises Malformed for one of another program's."""
        if not self._socket.poll(max(0, round(seconds * 1000)), zmq.POLLIN):
            return None
        return decode(self._socket.recv_multipart(zmq.DONTWAIT))

    def close(self) -> None:
        self._socket.close()
