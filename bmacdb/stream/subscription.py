"""The receiving end of the stream."""

from __future__ import annotations

from collections.abc import Iterable

import zmq

from bmacdb.errors import UsageError
from bmacdb.stream.messages import Message, decode
from bmacdb.stream.publisher import HIGH_WATER_MARK

__all__ = ["Subscription"]


class Subscription:
    """Receives the messages of `topics` (each a beginning of the topics meant); used from one thread at a time."""

    def __init__(self, address: str, topics: Iterable[str], *, server_key: str | None = None) -> None:
        """`server_key`: the public CURVE key of a recorder that publishes with keys. Raises UsageError for one that is
        no key."""
        # The process's own context: many subscriptions need no threads for each.
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVHWM, HIGH_WATER_MARK)
        if server_key is not None:
            try:
                self._socket.setsockopt(zmq.CURVE_SERVERKEY, server_key.encode())
            except (zmq.ZMQError, ValueError) as error:
                self.close()
                raise UsageError(f"{server_key!r} is no public CURVE key, which has 40 characters.") from error
            # The recorder asks for no key of a subscriber's own: a new one will do.
            public, secret = zmq.curve_keypair()
            self._socket.setsockopt(zmq.CURVE_PUBLICKEY, public)
            self._socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
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
