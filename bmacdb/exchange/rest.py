"""The exchange's REST interface: one client per market, which never asks more than the limits allow.

Every request takes its weight from the budget first, tells it the header of the answer, and turns whatever goes wrong
into one of errors.{Unreachable, RateLimited, Blocked, Malformed, Rejected}.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import aiohttp
import msgspec

from bmacdb.clock import Clock, ServerClock
from bmacdb.errors import Blocked, ExchangeError, Malformed, RateLimited, Unreachable, UsageError
from bmacdb.exchange.addresses import Addresses
from bmacdb.exchange.answers import error_of, is_refusal, retry_at_ms, used_weight
from bmacdb.exchange.endpoints import Endpoints
from bmacdb.exchange.limit import Lease, RequestWindow, WeightBudget
from bmacdb.exchange.session import describe, http_proxy, open_session
from bmacdb.exchange.wire import (
    ExchangeInfo,
    RestBar,
    parse_exchange_info,
    parse_funding_rates,
    parse_klines,
    parse_premium_index,
    parse_server_time,
)
from bmacdb.interval import DAY_MS, Interval
from bmacdb.model import Candle, FundingRate, FundingSnapshot, Market, Source

__all__ = ["PAGE_ROWS", "SETTLE_MS", "RestClient", "kline_weight", "open_session", "retrying"]

PAGE_ROWS: dict[Market, int] = {Market.SPOT: 1000, Market.USDT_FUTURES: 499, Market.COIN_FUTURES: 499}
"""The rows of a klines page that cost the least weight each."""

_MOST_ROWS = {Market.SPOT: 1000, Market.USDT_FUTURES: 1500, Market.COIN_FUTURES: 1500}
_FUNDING_ROWS = 1000
_INFO_PATIENCE = 4  # times the time-out: a body of megabytes over a slow line
# Spot lists for every symbol all groups of accounts that may trade it, which is most of the body.
_INFO_PARAMS = {Market.SPOT: {"showPermissionSets": "false"}, Market.USDT_FUTURES: {}, Market.COIN_FUTURES: {}}
_INFO_WEIGHT = {Market.SPOT: 20, Market.USDT_FUTURES: 1, Market.COIN_FUTURES: 1}
_PREMIUM_INDEX_WEIGHT = 10

# COIN-M refuses longer windows, and without both bounds it answers with the latest rows of a window of its own choice.
_COIN_WINDOW_MS = 200 * DAY_MS

# A bar is taken once it has been closed for so long when it is asked for. This covers the uncertainty of our clock, as
# long as that is no more; else the uncertainty itself is the margin, for a bar that still forms must never be taken for
# a closed one.
_CLOSED_MS = 1000

SETTLE_MS = 15_000
"""How old a bar must be when REST is asked, so that the answer is final. REST was seen to answer with bars that still
changed 2 to 10 seconds after their close (node-binance-api#585, freqtrade#12460); younger ones are provisional."""

_OFF_LOOP_BYTES = 100_000  # a larger body takes milliseconds to decode, and the event loop has frames to read
_BACKOFF_S = (0.5, 30.0)
_BLOCKED_S = (30.0, 900.0)  # a firewall that is asked often stays shut

T = TypeVar("T")


def kline_weight(market: Market, limit: int) -> int:
    """What a klines page of `limit` rows costs. (As documented; measured, 100 and 500 rows are cheaper.)"""
    if market is Market.SPOT:
        return 2
    return 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10


@dataclass(frozen=True, slots=True)
class _Answer:
    body: bytes
    asked_ms: int  # by the exchange's clock, before it was sent: what it says was true no earlier
    sent: float
    received: float  # monotonic seconds


class RestClient:
    """One market. Every method raises one of ExchangeError's kinds when there is no answer to be had."""

    def __init__(
        self,
        market: Market,
        *,
        endpoints: Endpoints,
        session: aiohttp.ClientSession,
        clock: ServerClock,
        budget: WeightBudget,
        funding_window: RequestWindow,
        timeout_s: float = 5.0,
        proxy: str | None = None,
        settle_ms: int = SETTLE_MS,
        addresses: Addresses | None = None,
    ) -> None:
        """Bars younger than `settle_ms` when they are asked for come as provisional ones.

        `addresses` are those that others who talk to the market share (None: this client is alone).
        """
        self.market = market
        self._addresses = addresses or Addresses(market, endpoints)
        self._session, self._clock, self._budget, self._funding_window = session, clock, budget, funding_window
        self._timeout_s, self._settle_ms = timeout_s, settle_ms
        self._proxy = None if endpoints.is_loopback(market) else http_proxy(proxy)

    def __repr__(self) -> str:
        return f"<RestClient {self.market} {self._addresses.rest} {self._budget!r}>"

    async def server_time(self) -> int:
        """The exchange's time in milliseconds; the clock takes it into account."""
        if not self._clock.synchronized:
            await self._get("time", {}, weight=1, urgent=True)  # connects: a handshake would spoil the measurement
        answer = await self._get("time", {}, weight=1, urgent=True)
        time_ms = parse_server_time(answer.body)
        self._clock.observe(time_ms, sent=answer.sent, received=answer.received)
        return time_ms

    async def exchange_info(self) -> ExchangeInfo:
        """The market's symbols. The budget learns the weight limit from it."""
        answer = await self._get(
            "exchangeInfo",
            _INFO_PARAMS[self.market],
            weight=_INFO_WEIGHT[self.market],
            urgent=True,
            patience=_INFO_PATIENCE,
        )
        info = await _off_loop(answer.body, lambda body: parse_exchange_info(self.market, body))
        if info.weight_limit is not None:
            self._budget.tell_limit(self.market, info.weight_limit)
        return info

    async def klines(
        self,
        symbol: str,
        interval: Interval,
        *,
        start_ms: int | None,
        end_ms: int | None,
        limit: int,
        urgent: bool = False,
    ) -> tuple[Candle, ...]:
        """Closed bars that open in [start, end], both included, oldest first: at most `limit` of them.

        With both bounds and more bars between them, the oldest; without `start_ms`, the latest. Bars whose
        close is not safely past by the exchange's clock are left out; those that may still change are provisional.
        """
        limit = max(1, min(limit, _MOST_ROWS[self.market]))
        candles: list[Candle] = []
        for first_ms, last_ms in self._windows(interval, start_ms, end_ms, limit):
            rows = limit - len(candles)
            if first_ms is not None and last_ms is not None:
                rows = min(rows, (last_ms - first_ms) // interval.length_ms + 1)
            candles += await self._page(symbol, interval, first_ms, last_ms, rows, urgent)
            if len(candles) >= limit:
                break
        return tuple(candles)

    def _windows(
        self, interval: Interval, start_ms: int | None, end_ms: int | None, limit: int
    ) -> Iterator[tuple[int | None, int | None]]:
        """The windows to ask for, one after another, bounds included."""
        if self.market is Market.COIN_FUTURES:
            if start_ms is None:
                end_ms = interval.floor(self._clock.now_ms()) if end_ms is None else end_ms
                start_ms = interval.shift(interval.floor(end_ms), 1 - limit)
            if end_ms is None:
                end_ms = min(self._clock.now_ms(), interval.shift(start_ms, limit - 1))
        if start_ms is None or end_ms is None:
            yield start_ms, end_ms
            return
        # A window of more bars than rows would be answered with its oldest rows on two markets and its latest on one.
        end_ms = min(end_ms, interval.shift(start_ms, limit - 1))
        longest_ms = _COIN_WINDOW_MS if self.market is Market.COIN_FUTURES else end_ms - start_ms + 1
        while start_ms <= end_ms:
            last_ms = min(end_ms, start_ms + longest_ms - 1)
            yield start_ms, last_ms
            start_ms = last_ms + 1

    async def _page(
        self, symbol: str, interval: Interval, start_ms: int | None, end_ms: int | None, rows: int, urgent: bool
    ) -> list[Candle]:
        params = {"symbol": symbol, "interval": interval.name, "limit": str(rows)}
        if start_ms is not None:
            params["startTime"] = str(start_ms)
        if end_ms is not None:
            params["endTime"] = str(end_ms)
        margin_ms = self._margin_ms()
        answer = await self._get("klines", params, weight=kline_weight(self.market, rows), urgent=urgent)
        closed_by_ms = answer.asked_ms - max(
            margin_ms, self._margin_ms()
        )  # the clock may have been set right meanwhile
        return await _off_loop(
            answer.body,
            lambda body: _closed(
                parse_klines(body, symbol),
                interval,
                start_ms,
                end_ms,
                closed_by_ms=closed_by_ms,
                settled_by_ms=min(closed_by_ms, answer.asked_ms - self._settle_ms),
            ),
        )

    def _margin_ms(self) -> int:
        uncertain = self._clock.uncertainty_ms() if self._clock.synchronized else 0.0
        return max(_CLOSED_MS, math.ceil(uncertain))

    async def premium_index(self, run_time_ms: int) -> tuple[FundingSnapshot, ...]:
        """The running funding rate of every symbol, to be recorded for `run_time_ms`."""
        self._futures_only()
        answer = await self._get("premiumIndex", {}, weight=_PREMIUM_INDEX_WEIGHT, urgent=True)
        return await _off_loop(answer.body, lambda body: parse_premium_index(body, run_time_ms))

    async def funding_rates(
        self, symbol: str | None, *, start_ms: int | None, end_ms: int | None
    ) -> tuple[FundingRate, ...]:
        """A page of settled fundings in [start, end], both included, oldest first: at most 1000 of them.

        Of all symbols when `symbol` is None, which COIN-M does not answer. Without bounds, the latest ones.
        """
        self._futures_only()
        params = {"limit": str(_FUNDING_ROWS)}
        if symbol is not None:
            params["symbol"] = symbol
        elif self.market is Market.COIN_FUTURES:
            raise UsageError("settled funding rates of COIN-M are asked for symbol by symbol: name one.")
        if start_ms is not None:
            params["startTime"] = str(start_ms)
        if end_ms is not None:
            params["endTime"] = str(end_ms)
        with await self._funding_window.acquire():
            # It has a limit of its own and tells no weight; should it count after all, the next header says so.
            answer = await self._get("fundingRate", params, weight=0, urgent=False)
        return await _off_loop(answer.body, parse_funding_rates)

    def _futures_only(self) -> None:
        if self.market is Market.SPOT:
            raise UsageError("there is no funding on spot: ask a futures market.")

    async def _get(
        self, path: str, params: dict[str, str], *, weight: int, urgent: bool, patience: float = 1.0
    ) -> _Answer:
        """The body of a request that was served."""
        what = f"{self.market} {path}{''.join(f' {params[name]}' for name in ('symbol', 'interval') if name in params)}"
        timeout_s = self._timeout_s * patience
        hung_up = False
        while True:
            base = self._addresses.rest
            try:
                return await self._ask(path, params, what, weight=weight, urgent=urgent, timeout_s=timeout_s)
            except Blocked as error:
                elsewhere = self._addresses.rest != base or (error.by_law and self._addresses.blocked(base))
                if not elsewhere:
                    raise
            except Unreachable as error:
                # (What has no weight has a limit of requests instead, and took leave for one.)
                if hung_up or not weight or not isinstance(error.__cause__, _HungUp):
                    raise
                hung_up = True

    async def _ask(
        self, path: str, params: dict[str, str], what: str, *, weight: int, urgent: bool, timeout_s: float
    ) -> _Answer:
        with await self._budget.acquire(weight, urgent=urgent) as lease:
            sent = self._clock.monotonic()
            with _translated(what, timeout_s):
                async with self._session.get(
                    f"{self._addresses.rest}/{path}",
                    params=params,
                    proxy=self._proxy,
                    timeout=aiohttp.ClientTimeout(total=timeout_s),
                    allow_redirects=False,
                    middlewares=(_once,),
                ) as response:
                    received = self._clock.monotonic()
                    status, headers = response.status, response.headers
                    body = await response.read()
            lease.answered(used_weight(headers))
        if is_refusal(status, body):
            raise self._rate_limited(what, lease, status, retry_at_ms(headers, body, self._clock.now_ms()), body)
        if status != 200:
            raise error_of(self.market, what, status, body)
        self._budget.served(lease)
        return _Answer(body, lease.sent_ms, sent, received)

    def _rate_limited(self, what: str, lease: Lease, status: int, told_ms: int | None, body: bytes) -> RateLimited:
        banned = status == 418
        until_ms = self._budget.refused(lease, banned=banned, told_ms=told_ms)
        left = max(until_ms - self._clock.now_ms(), 0) / 1000
        return RateLimited(
            f"{what}: {'banned' if banned else 'too many requests'} (HTTP {status}), going on in {left:.0f} s; does "
            f"another program use this address?",
            until_ms=until_ms,
            banned=banned,
        )


def _closed(
    bars: list[RestBar],
    interval: Interval,
    start_ms: int | None,
    end_ms: int | None,
    *,
    closed_by_ms: int,
    settled_by_ms: int,
) -> list[Candle]:
    """The bars closed by an instant; provisional are those that were not by `settled_by_ms`.

    Raises Malformed where they are not what was asked for.
    """
    candles: list[Candle] = []
    previous_ms = -1
    for bar in bars:
        opened_ms = bar.candle.open_time_ms
        if interval.name == "3d" and previous_ms < 0:
            interval = interval.anchored(opened_ms)  # its grid is the exchange's to choose
        if not interval.on_grid(opened_ms):
            raise Malformed(f"{bar.candle.symbol}: no bar of {interval.name} opens at {opened_ms}")
        if opened_ms <= previous_ms:
            raise Malformed(f"{bar.candle.symbol}: a bar of {opened_ms} follows that of {previous_ms}")
        if (start_ms is not None and opened_ms < start_ms) or (end_ms is not None and opened_ms > end_ms):
            raise Malformed(
                f"{bar.candle.symbol}: a bar of {opened_ms} when those of {start_ms} to {end_ms} were asked"
            )
        previous_ms = opened_ms
        closed_ms = max(bar.close_time_ms + 1, interval.next(opened_ms))
        if closed_ms <= settled_by_ms:
            candles.append(bar.candle)
        elif closed_ms <= closed_by_ms:
            candles.append(msgspec.structs.replace(bar.candle, source=Source.PROVISIONAL))
    return candles


async def _off_loop(body: bytes, parse: Callable[[bytes], T]) -> T:
    return parse(body) if len(body) < _OFF_LOOP_BYTES else await asyncio.to_thread(parse, body)


class _HungUp(aiohttp.ClientConnectionError):
    """The exchange closed the connection and gave no answer: most often one that had been idle, before it got to read
    the request. But it may have counted it."""


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from asking again by itself, of which the budget would not know."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _HungUp(str(error) or type(error).__name__) from error


@contextmanager
def _translated(what: str, timeout_s: float) -> Iterator[None]:
    """The transport's exceptions as ours. Their texts may quote URLs: what could be a password is cut out."""
    try:
        yield
    except aiohttp.ClientPayloadError as error:
        raise Malformed(f"{what}: the body ended early or is garbled ({describe(error)})") from error
    except aiohttp.ClientResponseError as error:  # its own text quotes the URL of the proxy
        raise Unreachable(f"{what}: no answer to use (HTTP {error.status} {error.message})") from error
    except TimeoutError as error:
        raise Unreachable(f"{what}: no answer within {timeout_s:g} s") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise Unreachable(f"{what}: cannot reach the exchange ({describe(error)})") from error


async def retrying(
    ask: Callable[[], Awaitable[T]],
    *,
    clock: Clock,
    attempts: int | None = None,
    told: Callable[[ExchangeError, float], None] | None = None,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    """`ask()` until it is answered, pausing between; after `attempts` (None: never) the last error is raised.

    Pauses grow from 0.5 to 30 s, of real time and jittered, so that many do not ask again at once; when rate limited it
    waits as long as the exchange wants, when blocked from 30 s to a quarter of an hour. `told` gets each error and the
    seconds until the next attempt. What the exchange has refused for good (Rejected) is raised at once.
    """
    wait_s, longest_s = _BACKOFF_S
    tried = blocked = 0
    while True:
        try:
            return await ask()
        except ExchangeError as error:
            tried += 1
            if not error.transient or tried == attempts:
                raise
            failure = error
        if isinstance(failure, RateLimited):
            _tell(told, failure, max(failure.until_ms - clock.now_ms(), 0) / 1000)
            await clock.sleep_until(failure.until_ms)
        elif isinstance(failure, Blocked):
            blocked += 1
            least_s, most_s = _BLOCKED_S
            pause_s = min(least_s * 2 ** min(blocked - 1, 10), most_s) * random.uniform(0.75, 1.25)
            _tell(told, failure, pause_s)
            await clock.sleep(pause_s)
        else:
            pause_s = wait_s * random.uniform(0.5, 1.0)
            _tell(told, failure, pause_s)
            await pause(pause_s)
            wait_s = min(wait_s * 2, longest_s)


def _tell(told: Callable[[ExchangeError, float], None] | None, error: ExchangeError, seconds: float) -> None:
    if told is not None:
        told(error, seconds)
