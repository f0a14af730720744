"""What is listed, and which bars exist."""

from __future__ import annotations

import json

import pytest

from bmacdb.errors import UsageError
from bmacdb.interval import DAY_MS, HOUR_MS, INTERVALS, MINUTE_MS
from bmacdb.model import Market
from bmacdb.simulated import Universe, generate
from bmacdb.simulated.faults import Delisting, Halt, Listing, Relisting
from bmacdb.simulated.info import describe
from bmacdb.simulated.universe import grid
from tests.simulated.support import START_MS


def universe(symbols: int = 30, **options: object) -> Universe:
    return Universe(start_ms=START_MS, symbols=symbols, **options)  # type: ignore[arg-type]


def infos(world: Universe, market: Market, at_ms: int = START_MS) -> dict[str, dict[str, object]]:
    pairs = [(one, world.style(one, one.life_at(at_ms) or one.lives[0])) for one in world.instruments(market)]
    document = json.loads(describe(market, pairs, now_ms=at_ms, weight_limit=2400))
    return {entry["symbol"]: entry for entry in document["symbols"]}


@pytest.mark.parametrize("count", [1, 5, 600, 2000])
def test_as_many_symbols_trade_as_were_asked_for(count: int) -> None:
    """The number counts trading symbols of the main trade type of each market."""
    world = universe(count)
    spot = [e for e in infos(world, Market.SPOT).values() if e["quoteAsset"] == "USDT" and e["status"] == "TRADING"]
    left_out = {"USDCUSDT", "FDUSDUSDT", "BTCUPUSDT", "BTCDOWNUSDT", "ETHBULLUSDT", "ETHBEARUSDT"}
    assert len({entry["symbol"] for entry in spot} - left_out) == count
    for market, quote, status in (
        (Market.USDT_FUTURES, "USDT", "status"),
        (Market.COIN_FUTURES, "USD", "contractStatus"),
    ):
        entries = infos(world, market).values()
        perpetual = [e for e in entries if e["contractType"] == "PERPETUAL" and e["quoteAsset"] == quote]
        assert sum(entry[status] == "TRADING" for entry in perpetual) == count


def test_every_kind_of_symbol_is_listed() -> None:
    """Whatever the recorder has to tell apart is there to be told apart."""
    world = universe()
    spot, usdt, coin = (infos(world, market) for market in Market)
    assert {"JUPUSDT", "SYRUPUSDT", "币安人生USDT", "USDCUSDT", "BTCUPUSDT", "ETHBEARUSDT", "BTCUSDC", "ETHBTC"} <= set(
        spot
    )
    assert {entry["status"] for entry in spot.values()} == {"TRADING", "BREAK"}
    assert {entry["status"] for entry in usdt.values()} == {"TRADING", "SETTLING", "PENDING_TRADING"}
    kinds = {entry["contractType"] for entry in usdt.values()}
    assert kinds == {"PERPETUAL", "TRADIFI_PERPETUAL", "CURRENT_QUARTER", "NEXT_QUARTER"}
    assert {entry["quoteAsset"] for entry in usdt.values()} == {"USDT", "USDC", "BTC"}
    assert {entry["contractStatus"] for entry in coin.values()} == {"TRADING", "SETTLING"}
    assert coin["BTCUSD_PERP"]["contractSize"] == 100
    assert coin["ETHUSD_PERP"]["contractSize"] == 10
    assert "status" not in coin["BTCUSD_PERP"]
    assert usdt["BTCUSDT"]["deliveryDate"] == 4133404800000
    assert not set(usdt) & set(coin)


def test_delivery_contracts_are_named_after_their_dates_and_move_up() -> None:
    """The last Friday of a quarter; when it has passed, the next quarter is the current one and another is listed."""
    world = universe()
    contracts = {name: e["contractType"] for name, e in infos(world, Market.USDT_FUTURES).items() if "_" in name}
    assert contracts == {
        "BTCUSDT_261225": "CURRENT_QUARTER",
        "BTCUSDT_270326": "NEXT_QUARTER",
        "ETHUSDT_261225": "CURRENT_QUARTER",
        "ETHUSDT_270326": "NEXT_QUARTER",
    }
    later = infos(world, Market.COIN_FUTURES, START_MS + 40 * DAY_MS)
    assert {name: e["contractType"] for name, e in later.items() if name.startswith("BTCUSD_2")} == {
        "BTCUSD_270326": "CURRENT_QUARTER",
        "BTCUSD_270625": "NEXT_QUARTER",
    }


def test_filters_are_those_of_the_market() -> None:
    """Tick, step and least value stand where each market has them."""
    world = universe()

    def filters(market: Market, symbol: str) -> dict[str, dict[str, str]]:
        entries = infos(world, market)[symbol]["filters"]
        assert isinstance(entries, list)
        return {entry["filterType"]: entry for entry in entries}

    assert filters(Market.SPOT, "BTCUSDT")["PRICE_FILTER"]["tickSize"] == "0.01000000"
    assert filters(Market.SPOT, "BTCUSDT")["NOTIONAL"]["minNotional"] == "5.00000000"
    assert filters(Market.USDT_FUTURES, "BTCUSDT")["LOT_SIZE"]["stepSize"] == "0.00001"
    assert filters(Market.USDT_FUTURES, "BTCUSDT")["MIN_NOTIONAL"]["notional"] == "50"
    assert "MIN_NOTIONAL" not in filters(Market.COIN_FUTURES, "BTCUSD_PERP")


def test_history_has_every_bar_that_was_listed() -> None:
    """Bars come from the grid, without holes, and from the same function that anybody may call."""
    world = universe()
    bars = world.expected(Market.USDT_FUTURES, "ETHUSDT", "5m", START_MS - DAY_MS, START_MS)
    assert [bar.open_time_ms for bar in bars] == list(range(START_MS - DAY_MS, START_MS, 5 * MINUTE_MS))
    assert bars[7] == generate(Market.USDT_FUTURES, "ETHUSDT", "5m", bars[7].open_time_ms)


@pytest.mark.parametrize("name", INTERVALS)
def test_every_interval_has_its_grid(name: str) -> None:
    """Weeks open on Monday, months on the first, and three days somewhere of their own."""
    world = universe()
    layout = grid(name, Market.SPOT)
    assert layout is not None
    start_ms = START_MS - 5 * layout.length_ms
    bars = world.expected(Market.SPOT, "BTCUSDT", name, start_ms, START_MS)
    assert 4 <= len(bars) <= 5
    assert all(layout.on_grid(bar.open_time_ms) for bar in bars)
    assert name != "3d" or all(bar.open_time_ms % (3 * DAY_MS) != 0 for bar in bars)
    assert grid("1s", Market.USDT_FUTURES) is None


def test_nothing_exists_before_the_listing_nor_after_the_end() -> None:
    """The first bar is the one in which the symbol was listed, the last the one in which it ended."""
    world = universe(10, recent=2)
    young = world.instruments(Market.SPOT)[9]
    bars = world.expected(Market.SPOT, young.symbol, "1m", START_MS - DAY_MS, START_MS)
    assert bars[0].open_time_ms == young.lives[0].onboard_ms
    hours = world.expected(Market.SPOT, young.symbol, "4h", START_MS - DAY_MS, START_MS)
    assert hours[0].open_time_ms <= young.lives[0].onboard_ms <= hours[0].close_time_ms
    world.happen(Delisting(market=Market.SPOT, symbol=young.symbol, at_ms=START_MS + 90_000), now_ms=START_MS)
    last = world.expected(Market.SPOT, young.symbol, "1m", START_MS, START_MS + DAY_MS)
    assert [bar.open_time_ms for bar in last] == [START_MS, START_MS + MINUTE_MS]
    assert infos(world, Market.SPOT, START_MS + 89_999)[young.symbol]["status"] == "TRADING"
    assert infos(world, Market.SPOT, START_MS + 90_000)[young.symbol]["status"] == "BREAK"


def test_a_halted_symbol_makes_no_bars_and_resumes() -> None:
    """Whole bars within the halt are absent; one that traded in part is there."""
    world = universe()
    halt = Halt(market=Market.USDT_FUTURES, symbol="BTCUSDT", at_ms=START_MS + 30_000, seconds=210)
    world.happen(halt, now_ms=START_MS)
    bars = world.expected(Market.USDT_FUTURES, "BTCUSDT", "1m", START_MS, START_MS + 6 * MINUTE_MS)
    assert [(bar.open_time_ms - START_MS) // MINUTE_MS for bar in bars] == [0, 4, 5]
    assert infos(world, Market.USDT_FUTURES, START_MS + 60_000)["BTCUSDT"]["status"] == "TRADING_HALT"
    found = world.opens(
        world.get(Market.USDT_FUTURES, "BTCUSDT"),
        grid("1m", Market.USDT_FUTURES),
        0,
        START_MS + HOUR_MS,
        limit=100,
        newest=True,
    )  # type: ignore[arg-type]
    assert sum(len(opens) for _, opens in found) == 100


def test_a_ticker_that_is_used_again_is_another_asset() -> None:
    """The new contract has an onboard date and prices of its own; the old one's bars remain what they were."""
    world = universe()
    before = world.expected(Market.USDT_FUTURES, "ETHUSDT", "1m", START_MS - HOUR_MS, START_MS)
    market, symbol = Market.USDT_FUTURES, "ETHUSDT"
    with pytest.raises(UsageError, match="delist it before"):
        world.happen(Relisting(market=market, symbol=symbol), now_ms=START_MS)
    world.happen(Delisting(market=market, symbol=symbol), now_ms=START_MS)
    assert infos(world, market)[symbol]["status"] == "SETTLING"
    world.happen(Relisting(market=market, symbol=symbol, at_ms=START_MS + HOUR_MS), now_ms=START_MS)
    entry = infos(world, market, START_MS + HOUR_MS)[symbol]
    assert (entry["status"], entry["onboardDate"]) == ("TRADING", START_MS + HOUR_MS)
    bars = world.expected(market, symbol, "1m", START_MS - HOUR_MS, START_MS + 2 * HOUR_MS)
    assert bars[:60] == before
    assert [bar.open_time_ms for bar in bars[60:]] == list(range(START_MS + HOUR_MS, START_MS + 2 * HOUR_MS, MINUTE_MS))
    assert bars[60] == generate(market, symbol, "1m", START_MS + HOUR_MS, life=1)
    days = world.expected(market, symbol, "1d", START_MS - DAY_MS, START_MS + DAY_MS)
    assert len({bar.open_time_ms for bar in days}) == len(days)


def test_a_new_symbol_is_listed_when_its_time_comes() -> None:
    """Before that, exchangeInfo does not know it."""
    world = universe()
    world.happen(Listing(market=Market.COIN_FUTURES, symbol="NEWUSD_PERP", at_ms=START_MS + HOUR_MS), now_ms=START_MS)
    assert "NEWUSD_PERP" not in infos(world, Market.COIN_FUTURES)
    entry = infos(world, Market.COIN_FUTURES, START_MS + HOUR_MS)["NEWUSD_PERP"]
    assert (entry["baseAsset"], entry["contractStatus"], entry["onboardDate"]) == ("NEW", "TRADING", START_MS + HOUR_MS)
    with pytest.raises(UsageError, match="already"):
        world.happen(Listing(market=Market.SPOT, symbol="BTCUSDT"), now_ms=START_MS)
    with pytest.raises(UsageError, match="does not end in"):
        world.happen(Listing(market=Market.SPOT, symbol="BTCEUR"), now_ms=START_MS)
    with pytest.raises(UsageError, match="lists no 'NOPEUSDT'"):
        world.expected(Market.SPOT, "NOPEUSDT", "1m", 0, 1)
    with pytest.raises(UsageError, match="no interval '7m'"):
        world.expected(Market.SPOT, "BTCUSDT", "7m", 0, 1)
