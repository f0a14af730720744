"""The client against the stand-in exchange, which counts, refuses and bans as the real one does."""

from __future__ import annotations

import asyncio

from bmacdb.clock import ServerClock
from bmacdb.exchange.endpoints import Endpoints
from bmacdb.exchange.limit import RequestWindow, WeightBudget
from bmacdb.exchange.rest import RestClient, open_session
from bmacdb.interval import MINUTE_MS
from bmacdb.model import Market
from bmacdb.simulated import SimulatedExchange

SPEED = 60.0


async def test_a_flood_of_requests_is_never_refused_on_a_fast_clock() -> None:
    """Eight workers on two markets that share their weight, a minute in each second."""
    async with SimulatedExchange(symbols=2, speed=SPEED, recent=0) as exchange:
        endpoints = Endpoints(exchange.rest_url, exchange.ws_url)
        clock = ServerClock(rate=SPEED)
        budget = WeightBudget(2400, clock=clock)
        async with open_session(endpoints=endpoints) as session:
            clients = [
                RestClient(
                    market,
                    endpoints=endpoints,
                    session=session,
                    clock=clock,
                    budget=budget,
                    funding_window=RequestWindow(clock=clock),
                    timeout_s=30.0,
                )
                for market in (Market.USDT_FUTURES, Market.COIN_FUTURES)
            ]
            for _ in range(5):
                await clients[0].server_time()
            served = 0
            until_ms = clock.now_ms() + 3 * MINUTE_MS

            async def ask(client: RestClient) -> None:
                nonlocal served
                while clock.now_ms() < until_ms:
                    await client.premium_index(0)
                    served += 1

            async with asyncio.TaskGroup() as tasks:
                for worker in range(8):
                    tasks.create_task(ask(clients[worker % 2]))
            assert exchange.stats.by_status.keys() == {200}
            assert served * 10 > 2 * 2400  # it did come to the limit
