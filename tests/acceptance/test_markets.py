"""Each market at an address of its own, as the exchange has them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bmacdb.model import Market
from bmacdb.simulated import SimulatedExchange
from bmacdb.simulated.hosts import CoinPaths
from tests.acceptance.support import Recorder, agrees

NUM_CANDLES = 30
FEEDS = ("usdt_spot_1m", "usdt_perp_1m", "coin_perp_1m")
NOWHERE = ("--rest-url", "http://127.0.0.1:1", "--ws-url", "ws://127.0.0.1:1")
"""The address of all markets: a market that is asked there is not recorded."""


@pytest.mark.parametrize("coin_paths", ["both", "unrouted"])
async def test_every_market_is_recorded_from_its_own_host(tmp_path: Path, coin_paths: CoinPaths) -> None:
    """Three markets in one process; of COIN-M also where the first path that is tried stays silent."""
    async with (
        asyncio.timeout(100),
        SimulatedExchange(symbols=3, speed=30.0, coin_paths=coin_paths) as exchange,
        Recorder(
            exchange,
            tmp_path,
            [
                *NOWHERE,
                *(f"--feed={name}" for name in FEEDS),
                *(f"--{market.replace('_', '-')}-rest-url={exchange.rest_urls[market]}" for market in Market),
                *(f"--{market.replace('_', '-')}-ws-url={exchange.ws_urls[market]}" for market in Market),
                *("--num-candles", str(NUM_CANDLES), "--periods", "3"),
            ],
        ) as recorder,
    ):
        assert await recorder.ended() == 0, recorder.story()
        for name in FEEDS:
            assert agrees(exchange, recorder.database, name, num_candles=NUM_CANDLES) > 0
        runs = [event for event in recorder.told("run_complete") if event["feed"] == "coin_perp_1m"]
    assert any(run["repaired"] == 0 for run in runs), "none came by websocket alone"
