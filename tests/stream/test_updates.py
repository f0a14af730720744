"""Candles that are still open, from a real recorder beside the stand-in exchange."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

from bmacdb.model import Source
from bmacdb.store import sidefile
from bmacdb.store.reader import connect
from bmacdb.stream.messages import HEARTBEAT, Message
from bmacdb.stream.subscription import Subscription
from tests.simulated.support import running

FEED = "usdt_perp_5m"


async def test_open_candles_come_to_those_who_ask_and_are_not_stored(tmp_path: Path) -> None:
    """They are of the period that runs, change, one row a symbol and message, and the table has none of them."""
    async with running(updates_per_second=4.0) as client:
        exchange = client.exchange
        await asyncio.to_thread(_record_and_follow, tmp_path, exchange.rest_url, exchange.ws_url)


def _record_and_follow(tmp_path: Path, rest_url: str, ws_url: str) -> None:
    addresses = ["--rest-url", rest_url, "--ws-url", ws_url]
    command = [sys.executable, "-m", "bmacdb.cli.main", "run", str(tmp_path), "--feed", FEED, "--num-candles", "5"]
    command += addresses
    recorder = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = monotonic() + 60
        while (live := sidefile.find(tmp_path / "bmac.duckdb")) is None:
            assert recorder.poll() is None
            assert monotonic() < until
            sleep(0.05)
        silent = Subscription(live.events_address, (HEARTBEAT,))
        for _ in range(2):
            heartbeat = silent.receive(30)
            assert heartbeat is not None
        assert f"updates/{FEED}" not in heartbeat.header["numbers"], "made while nobody asked for it"
        silent.close()
        subscription = Subscription(live.events_address, (f"updates/{FEED}",))
        messages: list[Message] = []
        while len(messages) < 4:
            message = subscription.receive(30)
            assert message is not None
            messages.append(message)
        subscription.close()
        rows = [row for message in messages for row in message.table().to_pylist()]
        assert {row["source"] for row in rows} == {Source.WS}
        for message in messages:
            symbols = message.table()["symbol"].to_pylist()
            assert len(symbols) == len(set(symbols)), "one row a symbol"
        assert any(row != other for row in rows for other in rows if row["symbol"] == other["symbol"])
        with connect(tmp_path / "bmac.duckdb") as reader:
            newest = max(row["open_time"] for row in rows)
            stored = reader.sql(f"SELECT count(*) FROM {FEED}.candles WHERE open_time > ?", [newest]).rows()
        assert stored == [(0,)]
    finally:
        recorder.terminate()
        recorder.wait(30)
