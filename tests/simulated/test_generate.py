"""Candles out of nothing."""

from __future__ import annotations

import json
from decimal import Decimal

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bmacdb.interval import INTERVALS, Interval
from bmacdb.model import Market
from bmacdb.simulated import generate
from bmacdb.simulated.encode import binary_frame, kline_payloads, rows_json, text_frame
from bmacdb.simulated.generate import Bar, compute, forming, style_of
from tests.simulated.support import START_MS

SYMBOLS = {
    Market.SPOT: ("BTCUSDT", "ETHBTC", "X0001USDT", "币安人生USDT"),
    Market.USDT_FUTURES: ("BTCUSDT", "X0004USDT", "X0005USDT", "BTCUSDT_261225"),
    Market.COIN_FUTURES: ("BTCUSD_PERP", "X0002USD_PERP"),
}
markets_and_symbols = st.sampled_from([(market, symbol) for market, names in SYMBOLS.items() for symbol in names])
intervals = st.sampled_from([Interval.parse(name) for name in INTERVALS])
instants = st.integers(1_500_000_000_000, 2_000_000_000_000)


@given(markets_and_symbols, intervals, instants)
def test_a_bar_is_consistent(named: tuple[Market, str], interval: Interval, at_ms: int) -> None:
    """Low <= open, close <= high; takers buy no more than is traded; no trade, no movement."""
    bar = generate(*named, interval, interval.floor(at_ms))
    assert 0 < bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
    assert 0 <= bar.taker_buy_base_asset_volume <= bar.volume
    assert 0 <= bar.taker_buy_quote_asset_volume <= bar.quote_volume
    assert bar.close_time_ms == interval.next(bar.open_time_ms) - 1
    assert (bar.trade_num == 0) == (bar.volume == 0)
    if bar.trade_num == 0:
        assert bar.open == bar.high == bar.low == bar.close


@given(markets_and_symbols, intervals, instants, st.integers(0, 9))
def test_a_bar_opens_where_the_one_before_it_closed(
    named: tuple[Market, str], interval: Interval, at_ms: int, seed: int
) -> None:
    """Prices are a path, through bars without trades too."""
    open_ms = interval.floor(at_ms)
    here, after = generate(*named, interval, open_ms, seed), generate(*named, interval, interval.next(open_ms), seed)
    assert here.close == after.open


@given(markets_and_symbols, intervals, instants)
def test_prices_lie_on_the_tick(named: tuple[Market, str], interval: Interval, at_ms: int) -> None:
    """Prices have no more decimals than the tick size."""
    bar = generate(*named, interval, interval.floor(at_ms))
    decimals = style_of(*named).price_decimals
    for price in (bar.open, bar.high, bar.low, bar.close):
        assert Decimal(repr(price)) == round(Decimal(repr(price)), decimals)


def test_a_bar_depends_on_its_key_alone() -> None:
    """The numbers are pinned: another process, machine or release makes the same ones."""
    assert generate(Market.USDT_FUTURES, "BTCUSDT", "1m", START_MS) == Bar(*PINNED)
    assert generate(Market.USDT_FUTURES, "BTCUSDT", "1m", START_MS, seed=1) != Bar(*PINNED)
    assert generate(Market.USDT_FUTURES, "BTCUSDT", "1m", START_MS, life=1) != Bar(*PINNED)


PINNED = (
    1795453200000,
    101240.71,
    101253.86,
    101163.06,
    101208.74,
    0.03828,
    1795453259999,
    3874.8822816,
    11,
    0.00076,
    76.9307872,
)


@given(markets_and_symbols, intervals, instants, st.integers(1, 40))
def test_a_page_has_the_same_bars_as_one_by_one(
    named: tuple[Market, str], interval: Interval, at_ms: int, count: int
) -> None:
    """Many at once, or one at a time; as numbers, or as JSON: the bars are the same."""
    market, symbol = named
    opens = [interval.shift(interval.floor(at_ms), place) for place in range(count)]
    after = np.array([interval.next(open_ms) for open_ms in opens])
    style = style_of(market, symbol)
    numbers = compute([style], interval, np.array(opens), after)
    one_by_one = [generate(market, symbol, interval, open_ms) for open_ms in opens]
    assert numbers.bars(style) == one_by_one
    rows = json.loads(f"[{rows_json(market, style, numbers)[:-1]}]")
    assert [Bar(*map(float, row[:11])) for row in rows] == [Bar(*map(float, bar)) for bar in one_by_one]
    assert all(len(row) == 12 and row[11] == "0" for row in rows)


def test_many_symbols_at_once_have_the_same_bars_as_one_by_one() -> None:
    """What a boundary sends is what history answers later."""
    minute = Interval.parse("1m")
    named = [(market, symbol, style_of(market, symbol)) for market, names in SYMBOLS.items() for symbol in names]
    opens = np.full(len(named), START_MS)
    numbers = compute([style for _, _, style in named], minute, opens, opens + 60_000)
    payloads = kline_payloads(named, "1m", numbers, [START_MS + 60_003] * len(named), closed=True)
    for (market, symbol, _), payload in zip(named, payloads, strict=True):
        event = json.loads(payload)
        k, bar = event["k"], generate(market, symbol, minute, START_MS)
        assert (event["e"], event["E"], event["s"], k["s"], k["i"], k["x"]) == (
            "kline",
            START_MS + 60_003,
            symbol,
            symbol,
            "1m",
            True,
        )
        assert [float(k[letter]) for letter in "tohlcvTqnVQ"] == [float(number) for number in bar]
        assert (k["f"] == k["L"] == -1) if bar.trade_num == 0 else k["L"] - k["f"] + 1 == bar.trade_num


def test_some_symbols_have_bars_without_trades() -> None:
    """A sixth of the generated symbols is quiet, and quiet in about half of its minutes."""
    styles = {f"X{number:04d}USDT": style_of(Market.SPOT, f"X{number:04d}USDT") for number in range(600)}
    quiet = [symbol for symbol, style in styles.items() if style.quiet]
    assert 60 < len(quiet) < 140
    opens = START_MS + 60_000 * np.arange(1000)
    numbers = compute([styles[quiet[0]]], Interval.parse("1m"), opens, opens + 60_000)
    assert 300 < int((numbers.trades == 0).sum()) < 600


@given(markets_and_symbols, intervals, instants, st.floats(0, 0.999))
def test_an_open_bar_is_not_the_closed_one(
    named: tuple[Market, str], interval: Interval, at_ms: int, passed: float
) -> None:
    """Whoever stores a bar that still forms is found out, and what it holds is consistent even so."""
    opens = np.array([interval.floor(at_ms)])
    after = np.array([interval.next(int(opens[0]))])
    style = style_of(*named)
    final = compute([style], interval, opens, after)
    part = forming(final, int(opens[0] + passed * (after[0] - opens[0])))
    (whole,), (bar,) = final.bars(style), part.bars(style)
    assert bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
    assert whole.low <= bar.low
    assert bar.high <= whole.high
    assert bar.volume < whole.volume or whole.trade_num == 0


@given(st.binary(max_size=70_000))
def test_a_frame_tells_its_length(payload: bytes) -> None:
    """Headers of all three sizes are as RFC 6455 has them."""
    for make, first in ((text_frame, 0x81), (binary_frame, 0x82)):
        frame = make(payload)
        assert frame[0] == first
        header = len(frame) - len(payload)
        length = frame[1] if header == 2 else int.from_bytes(frame[2:header], "big")
        assert length == len(payload)
        assert frame[header:] == payload
        assert {2: length < 126, 4: 126 <= length < 65536, 10: length >= 65536}[header]
