"""Messages of the stream: topics, headers and Arrow bodies, as values and bytes.

A message has a topic, a header (a JSON object) and, where it carries rows, a body (an Arrow IPC stream). Every header
has `epoch`, new for each start of a recorder, and `number`, which counts the messages of its topic within the epoch
from 1. A subscriber that sees a number left out, or another epoch, has lost messages and reads the database again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from bmacdb.errors import Malformed

__all__ = ["HEARTBEAT", "INFO", "Message", "decode", "encode", "encode_rows", "topic_of"]

HEARTBEAT = "heartbeat"
INFO = "info"


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it was received; `body` is None where it carries no rows."""

    topic: str
    epoch: str
    number: int
    header: Mapping[str, Any]
    body: bytes | None

    @property
    def kind(self) -> str:
        """`candles` of `candles/usdt_perp_5m`."""
        return self.topic.partition("/")[0]

    @property
    def feed(self) -> str:
        """`usdt_perp_5m` of `candles/usdt_perp_5m`; empty for topics of the recorder as a whole."""
        return self.topic.partition("/")[2]

    def table(self) -> pa.Table:
        """The rows, with the columns and types of the table that `kind` names. Raises Malformed."""
        if self.body is None:
            raise Malformed(f"message {self.number} of {self.topic} carries no rows.")
        try:
            with pa.ipc.open_stream(self.body) as stream:
                return stream.read_all()
        except pa.ArrowInvalid as error:
            raise Malformed(f"the rows of message {self.number} of {self.topic} do not parse: {error}") from error


def topic_of(kind: str, feed: str) -> str:
    """The topic of one kind of message of one feed."""
    return f"{kind}/{feed}"


def encode(topic: str, header: Mapping[str, object], body: pa.Buffer | None = None) -> list[Any]:
    """The parts of a message on the wire."""
    parts: list[Any] = [topic.encode(), json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()]
    return parts if body is None else [*parts, body]


def encode_rows(rows: pa.Table) -> pa.Buffer:
    """`rows` as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows)
    return sink.getvalue()


def decode(parts: Sequence[bytes]) -> Message:
    """A message from its parts. Raises Malformed."""
    try:
        topic, header, *body = parts
        values = json.loads(header)
        return Message(topic.decode(), values["epoch"], values["number"], values, body[0] if body else None)
    except (ValueError, KeyError, TypeError) as error:
        raise Malformed(f"a message of {len(parts)} parts is none of a recorder's stream: {error!r}") from error
