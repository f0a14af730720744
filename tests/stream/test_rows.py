"""What the recorder publishes of its commits, held against the file itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from time import monotonic

import psutil
import pyarrow as pa
import pytest

from bmacdb.clock import SystemClock
from bmacdb.errors import Malformed
from bmacdb.model import Batch, Candle, FundingRate, Run, Source
from bmacdb.store.reader import connect
from bmacdb.store.serve import Server
from bmacdb.store.writer import Store
from bmacdb.stream import publisher as publishing
from bmacdb.stream.messages import HEARTBEAT, Message
from bmacdb.stream.publisher import HIGH_WATER_MARK, MOST_ROWS, Publisher
from bmacdb.stream.subscription import Subscription
from tests.reading.conftest import Served
from tests.reading.feeding import FEED, FIRST_MS, MINUTE_MS, SYMBOLS, bar, period

CANDLES = f"candles/{FEED.name}"


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """A Store and the Server on it, without heartbeats but those that a test sends."""
    store = await Store.open(tmp_path / "bmac.duckdb", clock=SystemClock())
    await store.add_feed(FEED, num_candles=100)
    server = await Server.start(store, clock=SystemClock(), info=dict)
    assert server._heartbeats is not None
    server._heartbeats.cancel()
    yield Served(store, server)
    await server.close()
    await store.close()


def joined(publisher: Publisher, address: str, *topics: str) -> Subscription:
    """A subscription that holds already, as a heartbeat has shown."""
    subscription = Subscription(address, (*topics, HEARTBEAT))
    until = monotonic() + 30
    while subscription.receive(0.01) is None:
        publisher.heartbeat(1, {})
        assert monotonic() < until
    return subscription


def received(publisher: Publisher, subscription: Subscription) -> tuple[list[Message], Message]:
    """The messages until now, and the heartbeat behind them."""
    publisher.heartbeat(2, {})
    found: list[Message] = []
    while True:
        message = subscription.receive(30)
        assert message is not None
        if message.kind != HEARTBEAT:
            found.append(message)
        elif message.header["now_ms"] == 2:
            return found, message


async def test_numbers_have_no_gap_across_commits_and_the_rows_are_those_of_the_table(served: Served) -> None:
    """Each commit is one message of candles; all together are the table as a reader sees it, in types and values."""
    publisher = served.server._publisher
    with_rows = joined(publisher, served.server.live.events_address, "candles/", "ready/", "complete/")
    for place in range(5):
        await served.commit(period(FIRST_MS + place * MINUTE_MS))
    messages, heartbeat = received(publisher, with_rows)
    with_rows.close()
    candles = [message for message in messages if message.kind == "candles"]
    assert [message.number for message in candles] == [1, 2, 3, 4, 5]
    assert [message.header["commit"] for message in candles] == [1, 2, 3, 4, 5]
    assert [message.kind for message in messages[:3]] == ["candles", "ready", "complete"]
    assert heartbeat.header["numbers"] == {f"{kind}/{FEED.name}": 5 for kind in ("candles", "ready", "complete")}
    with connect(served.path) as reader:
        stored = reader.sql(f"FROM {FEED.name}.candles ORDER BY open_time, symbol").arrow()
    told = pa.concat_tables([message.table() for message in candles]).combine_chunks()
    assert told.sort_by([("open_time", "ascending"), ("symbol", "ascending")]).equals(stored)


async def test_a_row_that_loses_is_not_published_and_one_that_wins_is(served: Served) -> None:
    """Of a commit go out the bars that are now in the table: a worse source's version of a recorded bar is not."""
    better = replace(period(FIRST_MS), candles=tuple(_from(Source.REST, symbol, 0) for symbol in SYMBOLS), runs=())
    await served.commit(better)
    publisher = served.server._publisher
    subscription = joined(publisher, served.server.live.events_address, CANDLES)
    lost, new = _from(Source.WS, "BTCUSDT", 1), bar("BTCUSDT", FIRST_MS)
    await served.commit(Batch(FEED.name, FIRST_MS, (lost, new)))
    await served.commit(Batch(FEED.name, FIRST_MS, (lost,)))  # nothing is written: there is nothing to publish
    won = _from(Source.ARCHIVE, "ETHUSDT", 2)
    await served.commit(Batch(FEED.name, FIRST_MS, (_from(Source.REST, "ETHUSDT", 3), won)))
    messages, _ = received(publisher, subscription)
    subscription.close()
    rows = [[(row["symbol"], row["close"], row["source"]) for row in one.table().to_pylist()] for one in messages]
    assert rows == [[("BTCUSDT", new.close, "ws")], [("ETHUSDT", won.close, "archive")]]
    assert [message.number for message in messages] == [2, 3]


def _from(source: Source, symbol: str, more: int) -> Candle:
    return Candle(symbol, FIRST_MS - MINUTE_MS, 100.0, 200.0, 90.0, 100.0 + more, 10.0, 1000.0, 5, 4.0, 400.0, source)


async def test_a_lost_last_message_shows_in_the_heartbeat(served: Served) -> None:
    """The newest number of a topic is in every heartbeat, so that a subscriber knows of a message it never got."""
    publisher = served.server._publisher
    subscription = joined(publisher, served.server.live.events_address)  # not to candles: as if each one was lost
    await served.commit(period(FIRST_MS))
    messages, heartbeat = received(publisher, subscription)
    subscription.close()
    assert messages == []
    assert heartbeat.header["numbers"][CANDLES] == 1


async def test_what_was_written_and_is_not_known_leaves_a_number_out(served: Served) -> None:
    """After a fault within a commit nobody knows which rows stand: subscribers see a gap and read again."""
    publisher = served.server._publisher
    subscription = joined(publisher, served.server.live.events_address, CANDLES)
    await served.commit(period(FIRST_MS))
    await served.store.commit(period(FIRST_MS + MINUTE_MS))
    served.server.announce(period(FIRST_MS + MINUTE_MS), None)
    await served.commit(period(FIRST_MS + 2 * MINUTE_MS))
    messages, _ = received(publisher, subscription)
    subscription.close()
    assert [message.number for message in messages] == [1, 3]


async def test_settled_fundings_go_before_candles_each_once(served: Served) -> None:
    publisher = served.server._publisher
    subscription = joined(publisher, served.server.live.events_address, "candles/", "funding_rates/")
    rate = FundingRate("BTCUSDT", FIRST_MS + 3, "Regular", 0.0001, None)
    await served.commit(replace(period(FIRST_MS), funding_rates=(rate,)))
    await served.commit(Batch(FEED.name, FIRST_MS, funding_rates=(rate,)))
    messages, _ = received(publisher, subscription)
    subscription.close()
    assert [message.kind for message in messages] == ["funding_rates", "candles"]
    assert messages[0].table().to_pylist()[0]["funding_rate"] == 0.0001
    with pytest.raises(Malformed, match="carries no rows"):
        replace(messages[0], body=None).table()


async def test_many_rows_are_several_messages(served: Served) -> None:
    """What waits for a subscriber that does not read is bounded in bytes, as messages are bounded in rows."""
    publisher = served.server._publisher
    subscription = joined(publisher, served.server.live.events_address, CANDLES)
    candles = tuple(bar("BTCUSDT", FIRST_MS + place * MINUTE_MS) for place in range(2 * MOST_ROWS + 1))
    await served.commit(Batch(FEED.name, FIRST_MS, candles))
    messages, _ = received(publisher, subscription)
    subscription.close()
    assert [message.header["rows"] for message in messages] == [MOST_ROWS, MOST_ROWS, 1]
    assert [message.number for message in messages] == [1, 2, 3]
    assert sum(message.table().num_rows for message in messages) == len(candles)


async def test_rows_are_encoded_for_subscribers_alone(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a subscriber nothing is encoded, and again nothing once the last one has gone."""
    encoded: list[pa.Table] = []
    encode = publishing.encode_rows
    monkeypatch.setattr(publishing, "encode_rows", lambda rows: (encoded.append(rows), encode(rows))[1])
    publisher = served.server._publisher
    await served.commit(period(FIRST_MS))
    assert not encoded
    subscription = joined(publisher, served.server.live.events_address, CANDLES)
    await served.commit(period(FIRST_MS + MINUTE_MS))
    assert len(encoded) == 1
    subscription.close()
    until = monotonic() + 30
    while publisher.wanted(CANDLES):
        assert monotonic() < until
    await served.commit(period(FIRST_MS + 2 * MINUTE_MS))
    assert len(encoded) == 1


async def test_a_halted_market_is_told_once(served: Served) -> None:
    publisher = served.server._publisher
    subscription = joined(publisher, served.server.live.events_address, "complete/")
    halted = Batch(FEED.name, FIRST_MS, runs=(Run(FIRST_MS, 0, 0, None, None, 0, ()),))
    await served.commit(halted)
    await served.commit(halted)
    messages, _ = received(publisher, subscription)
    subscription.close()
    assert [message.header["state"] for message in messages] == ["halted"]


_STOPPED = """
import sys, zmq
socket = zmq.Context().socket(zmq.SUB)
socket.subscribe(b"")
socket.connect(sys.argv[1])
socket.recv_multipart()
print("joined", flush=True)
while True: socket.recv_multipart()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGSTOP")
async def test_a_subscriber_that_stands_still_costs_the_recorder_little(served: Served) -> None:
    """A stopped process neither holds commits up nor makes the recorder's memory grow beyond the high-water mark."""
    publisher = served.server._publisher
    process = subprocess.Popen(  # noqa: ASYNC220  (it starts in no time)
        [sys.executable, "-c", _STOPPED, served.server.live.events_address], stdout=subprocess.PIPE, text=True
    )
    try:
        until = monotonic() + 30
        while not publisher.wanted(CANDLES):
            assert monotonic() < until
        publisher.heartbeat(1, {})
        assert process.stdout is not None
        assert process.stdout.readline() == "joined\n"
        os.kill(process.pid, signal.SIGSTOP)
        rows = pa.concat_tables([_rows(MOST_ROWS)])
        body = publishing.encode_rows(rows).size
        before = psutil.Process().memory_info().rss
        batch = Batch(FEED.name, FIRST_MS)
        for _ in range(3 * HIGH_WATER_MARK):
            publisher.commit(batch, {"candles": rows})
        grown = psutil.Process().memory_info().rss - before
        assert grown < 1.5 * HIGH_WATER_MARK * body
        await served.commit(period(FIRST_MS))  # recording goes on
        assert publisher._numbers[CANDLES] == 3 * HIGH_WATER_MARK + 1
    finally:
        process.kill()
        process.communicate()


def _rows(number: int) -> pa.Table:
    text = pa.array([f"S{place}USDT" for place in range(number)])
    return pa.table({"symbol": text, **{f"c{place}": pa.array([0.5] * number) for place in range(12)}})
