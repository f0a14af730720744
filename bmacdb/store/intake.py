"""The intake: how another process gets rows into a file that a recorder holds.

A file has one writer, so whoever has history for it offers it to the recorder: over a connection on loopback, which the
side file announces. An offer is a few thousand rows, is committed like anything else the recorder writes, and is
answered after the commit; the next one of a connection waits for that. So live candles wait for one offer at most.

A message is two lengths (4 bytes each, big endian), a JSON head and an Arrow stream. The first one of a connection
shows the token. Answers have no table.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from bmacdb.errors import BmacdbError, Malformed, StoreError, UsageError
from bmacdb.model import Candle, Feed, FundingRate, Gap, GapState, Source
from bmacdb.sql import queries
from bmacdb.store.rows import SCHEMAS
from bmacdb.store.sidefile import Live
from bmacdb.store.writer import Store

__all__ = ["MOST_ROWS", "Intake", "IntakeClient", "IntakeLost", "Offer", "ensure_feed"]

MOST_ROWS = 2_000
"""The rows of one offer, so that a live candle behind it waits some tens of milliseconds."""

_LENGTHS = struct.Struct(">II")
_MOST_HEAD = 64 << 10
_MOST_BODY = 8 << 20
_MOST_CLIENTS = 8
_PATIENCE_S = 600.0  # for an answer: a recorder whose disk is full waits for room


class IntakeLost(StoreError):
    """The recorder at the other end has gone; what it acknowledged is in the file."""


@dataclass(frozen=True, slots=True)
class Offer:
    """Rows for one feed, to be committed together."""

    feed: str
    candles: tuple[Candle, ...] = ()
    funding_rates: tuple[FundingRate, ...] = ()
    gaps: tuple[Gap, ...] = ()


async def ensure_feed(store: Store, feed: Feed, *, num_candles: int) -> Feed:
    """Make room for a feed where there is none; one that is there keeps the depth that readers were promised."""
    sql = queries("store")["stored_feed"].sql
    stored = await store.beside(lambda connection: connection.execute(sql, {"feed": feed.name}).fetchone())
    return await store.add_feed(feed, num_candles=num_candles if stored is None else int(stored[1]))


Take = Callable[[Offer], Awaitable[None]]


async def _read(reader: asyncio.StreamReader) -> tuple[dict[str, Any], bytes]:
    head_bytes, body_bytes = _LENGTHS.unpack(await reader.readexactly(_LENGTHS.size))
    if head_bytes > _MOST_HEAD or body_bytes > _MOST_BODY:
        raise Malformed(f"a message of {head_bytes} and {body_bytes} bytes is none of the intake's.")
    head = json.loads(await reader.readexactly(head_bytes))
    if not isinstance(head, dict):
        raise Malformed("a message's head is no object.")
    return head, await reader.readexactly(body_bytes)


def _message(head: dict[str, object], body: bytes = b"") -> bytes:
    text = json.dumps(head).encode()
    return _LENGTHS.pack(len(text), len(body)) + text + body


class Intake:
    """The recorder's end; made by `start`. `take` is given each offer and returns when it is committed."""

    def __init__(self, take: Take, token: str) -> None:
        self._take, self._token = take, token
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self.port = 0

    def __repr__(self) -> str:
        return f"<Intake port={self.port} clients={len(self._clients)}>"

    @classmethod
    async def start(cls, take: Take, *, token: str) -> Intake:
        """Listen on a free port of loopback. Raises OSError."""
        intake = cls(take, token)
        intake._server = await asyncio.start_server(intake._connected, "127.0.0.1", 0)
        intake.port = int(intake._server.sockets[0].getsockname()[1])
        return intake

    async def close(self) -> None:
        """Take no more; an offer that is being committed is left unanswered."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for client in list(self._clients):
            client.cancel()
        if self._clients:
            await asyncio.wait(self._clients)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= _MOST_CLIENTS or self._server is None:
            writer.close()
            return
        client = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._clients.add(client)
        client.add_done_callback(self._clients.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(10):
                head, _ = await _read(reader)
            if not hmac.compare_digest(str(head.get("token", "")).encode(), self._token.encode()):
                return
            writer.write(_message({"ok": True}))
            while True:
                head, body = await _read(reader)
                writer.write(_message(await self._answer(head, body)))
                await writer.drain()
        except (OSError, EOFError, TimeoutError, ValueError, Malformed):
            pass  # the client has gone, or is none
        finally:
            writer.close()

    async def _answer(self, head: dict[str, Any], body: bytes) -> dict[str, object]:
        try:
            offer = await asyncio.to_thread(_offer_of, head, body)
            await self._take(offer)
        except BmacdbError as error:
            return {"ok": False, "error": str(error)}
        return {"ok": True}


def _offer_of(head: dict[str, Any], body: bytes) -> Offer:
    """The rows of a message. Raises UsageError for what is no offer."""
    kind, feed = str(head.get("kind")), str(head.get("feed"))
    schema = SCHEMAS.get(kind)
    try:
        with pa.ipc.open_stream(body) as stream:
            if schema is None or not stream.schema.equals(schema):
                raise UsageError(f"the recorder takes no rows of {kind!r} in this form: is it of the same version?")
            table = stream.read_all()
    except pa.ArrowInvalid as error:
        raise UsageError(f"the rows offered do not parse: {error}") from error
    if table.num_rows > MOST_ROWS:
        raise UsageError(f"{table.num_rows} rows are more than the {MOST_ROWS} that the recorder takes at once.")
    table = _plain(table)
    columns = [column.to_pylist() for column in table.columns]
    match kind:
        case "candles":
            return Offer(feed, candles=tuple(_candle(*row) for row in zip(*columns, strict=True)))
        case "funding_rates":
            return Offer(feed, funding_rates=tuple(FundingRate(*row) for row in zip(*columns, strict=True)))
        case "gaps":
            return Offer(feed, gaps=tuple(_gap(*row) for row in zip(*columns, strict=True)))
    raise UsageError(f"the recorder takes no rows of {kind!r} from outside.")


def _plain(table: pa.Table) -> pa.Table:
    """Times as milliseconds."""
    for number, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            times = table.column(number).cast(pa.timestamp("ms", "UTC"), safe=False).cast(pa.int64())
            table = table.set_column(number, field.name, times)
    return table


def _candle(symbol: str, open_ms: int, *row: Any) -> Candle:
    open_, high, low, close, volume, quote, trades, taker, taker_quote, source, _ = row
    return Candle(symbol, open_ms, open_, high, low, close, volume, quote, trades, taker, taker_quote, Source(source))


def _gap(symbol: str, start: int, end: int, state: str, reason: str, found: int, closed: int | None) -> Gap:
    return Gap(symbol, start, end, GapState(state), reason, found, closed)


class IntakeClient:
    """The other end; made by `connect`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, live: Live) -> IntakeClient:
        """Connect to a live recorder. Raises IntakeLost."""
        try:
            async with asyncio.timeout(10):
                client = cls(*await asyncio.open_connection("127.0.0.1", live.intake_port))
                try:
                    await client._ask({"token": live.token}, b"")
                except BaseException:
                    client._writer.close()
                    raise
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            raise IntakeLost(
                f"the recorder (process {live.pid}) takes no rows from outside ({error or 'no answer'}): "
                "stop it and run this again, or update it."
            ) from error
        return client

    async def offer(self, feed: str, kind: str, table: pa.Table) -> None:
        """Have the recorder write rows of table `kind` (columns as there); returns when all are committed.

        Raises IntakeLost when it ends in between, StoreError when it refuses.
        """
        for start in range(0, table.num_rows, MOST_ROWS):
            part = table.slice(start, MOST_ROWS).combine_chunks()
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, part.schema) as stream:
                stream.write_table(part)
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    answer = await self._ask({"feed": feed, "kind": kind}, sink.getvalue().to_pybytes())
            except (OSError, EOFError, TimeoutError, ValueError) as error:
                raise IntakeLost(
                    "the recorder ended while rows were given to it. What it took is in the file: run this again for "
                    "the rest."
                ) from error
            if not answer.get("ok"):
                raise StoreError(f"the recorder refuses the rows: {answer.get('error')}")

    async def _ask(self, head: dict[str, object], body: bytes) -> dict[str, Any]:
        self._writer.write(_message(head, body))
        await self._writer.drain()
        return (await _read(self._reader))[0]

    async def close(self) -> None:
        """Say goodbye."""
        self._writer.close()
        with contextlib.suppress(OSError):  # gone already
            await self._writer.wait_closed()
