"""Weight, requests and messages."""

from __future__ import annotations

import pytest

from bmacdb.interval import MINUTE_MS
from bmacdb.model import Market
from bmacdb.simulated.limits import MessageBucket, RequestLimit, WeightLimit, klines_weight, weight_of
from tests.simulated.support import START_MS


@pytest.mark.parametrize(
    ("limit", "weight"), [(1, 1), (100, 1), (101, 2), (499, 2), (500, 2), (501, 5), (1000, 5), (1001, 10), (1500, 10)]
)
def test_futures_klines_cost_by_rows(limit: int, weight: int) -> None:
    """The measured ladder of both futures markets; spot is flat."""
    assert klines_weight(Market.USDT_FUTURES, limit) == klines_weight(Market.COIN_FUTURES, limit) == weight
    assert klines_weight(Market.SPOT, limit) == 2


def test_other_endpoints_cost_what_the_exchange_says() -> None:
    """exchangeInfo 20 on spot and 1 on futures; premiumIndex 10 for all and 1 for one symbol."""
    for market, endpoint, symbols, weight in (
        (Market.SPOT, "exchangeInfo", None, 20),
        (Market.USDT_FUTURES, "exchangeInfo", None, 1),
        (Market.COIN_FUTURES, "premiumIndex", None, 10),
        (Market.USDT_FUTURES, "premiumIndex", 1, 1),
        (Market.SPOT, "time", None, 1),
        (Market.SPOT, "uiKlines", 1, 2),
        (Market.USDT_FUTURES, "markPriceKlines", 1, 2),
        (Market.SPOT, "ticker/24hr", 21, 40),
        (Market.SPOT, "ticker/24hr", None, 80),
        (Market.SPOT, "ticker/price", 2, 4),
        (Market.COIN_FUTURES, "ticker/bookTicker", 1, 2),
        (Market.USDT_FUTURES, "ticker/24hr", None, 40),
        (Market.USDT_FUTURES, "tradingSchedule", None, 5),
    ):
        assert weight_of(market, endpoint, limit=500, symbols=symbols) == weight, endpoint


def test_weight_is_counted_by_minutes_of_the_clock() -> None:
    """What fits the limit is served; past it 429 until the minute turns, and then it starts from nothing."""
    limit = WeightLimit(100)
    assert [limit.charge(50, START_MS + 59_000).status for _ in range(3)] == [200, 200, 429]
    assert limit.charge(50, START_MS + 59_500).until_ms == START_MS + MINUTE_MS
    verdict = limit.charge(50, START_MS + MINUTE_MS)
    assert (verdict.status, verdict.used) == (200, 50)
    assert limit.most == 200


def test_going_on_past_the_limit_is_banned() -> None:
    """After twenty refusals in a minute an address gets 418 for two minutes, whatever it does."""
    limit = WeightLimit(1)
    statuses = [limit.charge(1, START_MS).status for _ in range(22)]
    assert statuses == [200] + [429] * 20 + [418]
    assert limit.charge(1, START_MS + MINUTE_MS).status == 418
    assert limit.charge(1, START_MS + 2 * MINUTE_MS).status == 200


def test_requests_are_counted_over_a_moving_window() -> None:
    """The oldest request has to leave the window before another is served."""
    limit = RequestLimit(2, 5 * MINUTE_MS)
    assert [limit.charge(START_MS + second).status for second in (0, 1000, 2000)] == [200, 200, 429]
    assert limit.charge(START_MS + 2000).until_ms == START_MS + 5 * MINUTE_MS
    assert limit.charge(START_MS + 5 * MINUTE_MS).status == 200


def test_messages_flow_at_a_rate_with_a_burst() -> None:
    """Futures: fifteen at once, then ten a second."""
    bucket = MessageBucket(rate=10, burst=15)
    assert all(bucket.admit(100.0) for _ in range(15))
    assert not bucket.admit(100.0)
    assert bucket.most == 16
    steady = MessageBucket(rate=10, burst=15)
    assert all(steady.admit(100 + number / 10) for number in range(100))
