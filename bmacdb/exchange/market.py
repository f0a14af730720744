"""MarketDesk: one market's REST side, shared by all feeds of it, so that none asks what another has just been told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from bmacdb.exchange.limit import WeightBudget
from bmacdb.exchange.rest import RestClient
from bmacdb.exchange.wire import ExchangeInfo
from bmacdb.model import FundingSnapshot, Market

__all__ = ["MarketDesk"]

T = TypeVar("T")


class _Shared(Generic[T]):
    """An answer that is as good as new for everyone who asks for the same instant or an earlier one."""

    def __init__(self, ask: Callable[[int], Awaitable[T]]) -> None:
        self._ask = ask
        self._asking = asyncio.Lock()
        self._answer: tuple[int, T] | None = None

    async def get(self, as_of_ms: int) -> T:
        async with self._asking:
            if self._answer is None or self._answer[0] < as_of_ms:
                self._answer = as_of_ms, await self._ask(as_of_ms)
            return self._answer[1]


class MarketDesk:
    """The client of one market with the answers that its feeds share, and the weight budget it draws from."""

    def __init__(self, client: RestClient, budget: WeightBudget) -> None:
        self.client, self.budget = client, budget
        self._exchange_info = _Shared(lambda _: client.exchange_info())
        self._premium_index = _Shared(client.premium_index)

    @property
    def market(self) -> Market:
        return self.client.market

    async def exchange_info(self, as_of_ms: int) -> ExchangeInfo:
        """Exchange info asked for at `as_of_ms` or later."""
        return await self._exchange_info.get(as_of_ms)

    async def premium_index(self, run_time_ms: int) -> tuple[FundingSnapshot, ...]:
        """The running funding rates at `run_time_ms`, or later if they have been asked for already."""
        return await self._premium_index.get(run_time_ms)
