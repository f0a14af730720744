"""What takes the place of an address that does not serve, and when."""

from __future__ import annotations

from typing import ClassVar

import pytest

from bmacdb.errors import Blocked
from bmacdb.exchange.addresses import Addresses
from bmacdb.exchange.endpoints import Endpoints
from bmacdb.model import Market

from .support import NOW_MS, Answer, client_of, serving


def told_addresses(market: Market, endpoints: Endpoints | None = None) -> tuple[Addresses, list[str]]:
    told: list[str] = []
    return Addresses(market, endpoints or Endpoints(), told=told.append), told


def test_where_the_law_forbids_spot_both_of_its_addresses_change_once() -> None:
    addresses, told = told_addresses(Market.SPOT)
    first = addresses.rest
    assert addresses.blocked(first)
    assert addresses.rest == "https://data-api.binance.vision/api/v3"
    assert addresses.stream == "wss://data-stream.binance.vision/stream"
    assert len(told) == 2
    assert addresses.blocked(first)
    assert len(told) == 2
    assert not addresses.blocked(addresses.rest)
    assert not addresses.blocked(addresses.stream)


@pytest.mark.parametrize("market", [Market.USDT_FUTURES, Market.COIN_FUTURES])
def test_futures_have_nothing_in_their_place(market: Market) -> None:
    addresses, told = told_addresses(market)
    assert not addresses.blocked(addresses.rest)
    assert not addresses.blocked(addresses.stream)
    assert not told


def test_given_addresses_are_left_as_they_are() -> None:
    addresses, told = told_addresses(Market.SPOT, Endpoints("https://relay", "wss://relay:9443"))
    assert not addresses.blocked(addresses.rest)
    for _ in range(9):
        addresses.unreachable(addresses.stream)
    assert addresses.stream == "wss://relay:9443/stream"
    assert not told


def test_another_port_is_tried_after_some_failures_and_back_again() -> None:
    """Failures on an address that is left already do not count."""
    addresses, told = told_addresses(Market.SPOT)
    first = addresses.stream
    for _ in range(2):
        addresses.unreachable(first)
    assert addresses.stream == first
    for _ in range(7):
        addresses.unreachable(first)
    assert addresses.stream == "wss://stream.binance.com:443/stream"
    assert len(told) == 1
    for _ in range(3):
        addresses.unreachable(addresses.stream)
    assert addresses.stream == first


def test_another_path_is_tried_where_one_has_never_delivered() -> None:
    addresses, told = told_addresses(Market.COIN_FUTURES)
    routed = addresses.stream
    addresses.silent(routed)
    assert addresses.stream == "wss://dstream.binance.com/stream"
    addresses.silent(routed)  # another listener of the same market says it, too
    assert addresses.stream == "wss://dstream.binance.com/stream"
    assert not addresses.delivers
    addresses.delivered(addresses.stream)
    assert addresses.delivers
    addresses.silent(addresses.stream)
    assert addresses.stream == "wss://dstream.binance.com/stream"
    assert told == [f"coin_futures: {routed} acknowledges streams and sends nothing: {addresses.stream} is tried."]


class TwoHosts(Endpoints):
    """Spot's REST hosts are two servers of this machine."""

    hosts: ClassVar[tuple[str, str]]

    def rests(self, market: Market) -> tuple[str, ...]:
        return self.hosts


@pytest.mark.parametrize("hung_up", [False, True])
async def test_a_client_asks_the_other_host_by_itself_and_tells_it_once(hung_up: bool) -> None:
    """The request that found out is answered, too, also at its second attempt; those after it go there at once."""
    answers = [Answer(hung_up=True)] * hung_up + [Answer(b"", status=451)]
    async with serving(*answers) as forbidden, serving(Answer({"serverTime": NOW_MS})) as served:
        TwoHosts.hosts = forbidden.url, served.url.replace("127.0.0.1", "localhost")
        addresses, told = told_addresses(Market.SPOT, TwoHosts())
        async with client_of(TwoHosts(), Market.SPOT, addresses=addresses) as (client, _):
            await client.server_time()
            await client.server_time()
        assert len(forbidden.paths) == 1 + hung_up
        assert len(served.paths) == 2
        assert len(told) == 2


async def test_without_another_host_the_refusal_is_told() -> None:
    async with serving(Answer(b"", status=451)) as server, client_of(server, Market.SPOT) as (client, _):
        with pytest.raises(Blocked):
            await client.server_time()
        assert len(server.paths) == 1
