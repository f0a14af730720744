"""Candles out of nothing: a pure function of market, symbol, interval, open time and seed.

All arithmetic is on whole numbers (ticks of price, steps of volume), so every machine makes the same
candle, and it is vectorised, so that hundreds of thousands a second can be served. A price is a point
on a path that depends on time alone: the close of a bar is the open of the next, at every interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bmacdb.interval import HOUR_MS, MINUTE_MS, Interval
from bmacdb.model import Market

__all__ = ["Bar", "Ints", "Numbers", "Style", "compute", "forming", "generate", "style_of"]

Ints = npt.NDArray[np.int64]
"""One whole number a bar."""

_COIN_VOLUME_DECIMALS = 5
_BUSIEST_MINUTES = 720  # trades of a longer bar do not grow any more, which keeps every number exact in a float


class Bar(NamedTuple):
    """A closed bar as the exchange prints it, read as numbers."""

    open_time_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    close_time_ms: int
    quote_volume: float
    trade_num: int
    taker_buy_base_asset_volume: float
    taker_buy_quote_asset_volume: float


@dataclass(frozen=True, slots=True)
class Style:
    """How a symbol trades. `base` is the price it moves around, in ticks of 10 ** -price_decimals."""

    key: int
    base: int
    price_decimals: int
    volume_decimals: int
    quote_decimals: int  # of the quote volume; on COIN-M of the volume in the base asset
    trades_a_minute: int
    quiet: bool
    contract_size: int  # COIN-M alone, else 0


_FAMOUS = {  # base asset: price, decimals of price, decimals of volume
    "BTC": (97_000, 2, 5),
    "ETH": (3_400, 2, 4),
    "BNB": (640, 2, 3),
    "SOL": (230, 2, 3),
    "XAU": (4_100, 2, 3),
    "TSLA": (410, 2, 2),
    "NVDA": (180, 2, 2),
}


def _hash(*parts: object) -> int:
    return int.from_bytes(blake2b("\0".join(map(str, parts)).encode(), digest_size=8).digest(), "little")


@lru_cache(maxsize=100_000)
def style_of(market: Market, symbol: str, seed: int = 0, life: int = 0) -> Style:
    """The style of a symbol; `life` counts the contracts that have had its name."""
    key = _hash(seed, market.value, symbol, life)
    famous = next((f for base, f in _FAMOUS.items() if symbol.startswith((base + "USD", base + "BTC"))), None)
    if famous is not None:
        price, price_decimals, volume_decimals = famous
        base = price * 10**price_decimals
        trades, quiet = 400, False
    else:
        price_decimals = 2 + key % 4
        volume_decimals = key // 4 % 3
        base = 2_000 + key // 64 % 200_000
        trades = 2 + key // 2**30 % 60
        quiet = key // 2**40 % 6 == 0  # one in six does not trade in every bar
    size = 0
    if market is Market.COIN_FUTURES:
        volume_decimals, size = 0, 100 if symbol.startswith("BTC") else 10
        price_decimals = min(price_decimals, 4)
    quote_decimals = _COIN_VOLUME_DECIMALS if size else price_decimals + volume_decimals
    return Style(key, base, price_decimals, volume_decimals, quote_decimals, trades, quiet, size)


def _floats(column: Ints, decimals: int) -> list[float]:
    if len(column) and int(column.max()) > 2**53:  # an array would round twice; Python's own division does not
        return [number / 10**decimals for number in column.tolist()]
    quotients: list[float] = (column / 10.0**decimals).tolist()
    return quotients


class Numbers(NamedTuple):
    """Bars in whole numbers: prices in ticks, volumes in steps; every array as long as there are bars."""

    opens_ms: Ints
    next_ms: Ints
    open: Ints
    high: Ints
    low: Ints
    close: Ints
    volume: Ints
    quote_volume: Ints
    trades: Ints
    taker_base: Ints
    taker_quote: Ints

    def bars(self, style: Style) -> list[Bar]:
        """The same as the exchange prints them, each number read as the nearest float."""
        price, volume, quote = style.price_decimals, style.volume_decimals, style.quote_decimals
        columns = (
            self.opens_ms.tolist(),
            _floats(self.open, price),
            _floats(self.high, price),
            _floats(self.low, price),
            _floats(self.close, price),
            _floats(self.volume, volume),
            (self.next_ms - 1).tolist(),
            _floats(self.quote_volume, quote),
            self.trades.tolist(),
            _floats(self.taker_base, volume),
            _floats(self.taker_quote, quote),
        )
        return [Bar(*row) for row in zip(*columns, strict=True)]


_Hashes = npt.NDArray[np.uint64]


def _mix(values: _Hashes) -> _Hashes:
    """The finaliser of splitmix64: neighbours come out unrelated."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _below(hashes: _Hashes, shift: int, bound: Ints | int) -> Ints:
    """A number below `bound` out of 16 bits of each hash."""
    bits: Ints = ((hashes >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.int64)
    product: Ints = bits * bound >> 16
    return product


def _path(keys: _Hashes, base: Ints, times: Ints) -> Ints:
    """The price at `times`: waves of three lengths, and noise."""
    price = base + _below(_mix(keys ^ times.astype(np.uint64)), 0, base // 500 + 2)
    phase = (keys >> np.uint64(20)).astype(np.int64) & 0xFFFFFFF
    for length, depth in ((75 * HOUR_MS, 6), (7 * HOUR_MS, 30), (37 * MINUTE_MS, 150)):
        swing: Ints = np.abs(2 * ((times + phase) % length) - length)  # 0 .. length
        price = price + base // depth * swing // length
    return price


def _columns(styles: Sequence[Style]) -> tuple[_Hashes, Ints, Ints, npt.NDArray[np.bool_], Ints, Ints]:
    return (
        np.array([style.key for style in styles], np.uint64),
        np.array([style.base for style in styles], np.int64),
        np.array([style.trades_a_minute for style in styles], np.int64),
        np.array([style.quiet for style in styles], np.bool_),
        np.array([style.contract_size for style in styles], np.int64),
        np.array([10 ** (style.price_decimals + _COIN_VOLUME_DECIMALS) for style in styles], np.int64),
    )


def compute(styles: Sequence[Style], interval: Interval, opens_ms: Ints, next_ms: Ints) -> Numbers:
    """The final numbers of bars: of one style at many open times, or of many styles at one open time each."""
    keys, base, per_minute, quiet_style, size, coin_scale = _columns(styles)
    first, last = opens_ms, next_ms
    asleep = np.zeros(opens_ms.shape, np.bool_)
    if bool(quiet_style.any()) and interval.length_ms <= HOUR_MS:
        asleep, first, last = _sleep(keys, quiet_style, interval.length_ms, opens_ms, next_ms)
    open_, close = _path(keys, base, first), _path(keys, base, last)
    dice = _mix(_mix(keys + np.uint64(interval.length_ms)) ^ opens_ms.astype(np.uint64))
    wick = base // 400 + 2
    high = np.maximum(open_, close) + _below(dice, 0, wick)
    low = np.minimum(open_, close) - _below(dice, 16, wick)
    minutes = min(max(interval.length_ms // MINUTE_MS, 1), _BUSIEST_MINUTES)
    trades = 1 + _below(dice, 32, per_minute * minutes)
    volume = trades * (1 + _below(dice, 40, 1000))
    taker = volume * _below(dice, 48, 101) // 100
    mean = (open_ + close) // 2
    coin = size > 0
    if bool(coin.any()):  # contracts of a fixed value in USD: their volume in the asset is that over the price
        scale = np.where(coin, size * coin_scale, 1)
        quote = np.where(coin, volume * scale // mean, volume * mean)
        taker_quote = np.where(coin, taker * scale // mean, taker * mean)
    else:
        quote, taker_quote = volume * mean, taker * mean
    if bool(asleep.any()):
        high, low, close = (np.where(asleep, open_, column) for column in (high, low, close))
        volume, quote, trades, taker, taker_quote = (
            np.where(asleep, 0, column) for column in (volume, quote, trades, taker, taker_quote)
        )
    return Numbers(opens_ms, next_ms, open_, high, low, close, volume, quote, trades, taker, taker_quote)


def _sleep(
    keys: _Hashes, quiet: npt.NDArray[np.bool_], length_ms: int, opens_ms: Ints, next_ms: Ints
) -> tuple[npt.NDArray[np.bool_], Ints, Ints]:
    """Which bars have no trade, and the instants whose prices open and close each bar.

    In every eight bars the first trades; a price stands still from the last bar that traded.
    """
    index = opens_ms // length_ms
    octave = _mix((keys + np.uint64(77)) ^ (index >> 3).astype(np.uint64))
    place = index & 7
    awake = (octave & np.uint64(0xFF)).astype(np.int64) | 1  # bit k: the k-th of the eight bars trades
    asleep = quiet & ((awake >> place) & 1 == 0)
    before = place - 1  # the last bar before this one that traded, within the eight or the last of the eight before
    for _ in range(7):
        before = np.where((before > 0) & ((awake >> np.maximum(before, 0)) & 1 == 0), before - 1, before)
    earlier = _mix((keys + np.uint64(77)) ^ ((index >> 3) - 1).astype(np.uint64))
    awake_earlier = (earlier & np.uint64(0xFF)).astype(np.int64) | 1
    tail = np.full(opens_ms.shape, 7, np.int64)
    for _ in range(7):
        tail = np.where((awake_earlier >> tail) & 1 == 0, tail - 1, tail)
    since = np.where(place == 0, 7 - tail, place - 1 - before)  # bars asleep just before this one
    first = np.where(quiet, opens_ms - since * length_ms, opens_ms)
    return asleep, first, next_ms


def forming(numbers: Numbers, now_ms: int | Ints) -> Numbers:
    """The bars as they look at `now_ms` (one time for all of them, or one for each), before they close: a part of the
    volume, and prices on their way."""
    length = np.maximum(numbers.next_ms - numbers.opens_ms, 1)
    passed = np.clip(now_ms - numbers.opens_ms, 0, length - 1)

    def part(column: Ints) -> Ints:
        # In two steps: volume times milliseconds may not fit into 64 bits.
        share: Ints = column // length * passed + column % length * passed // length
        return share

    close = numbers.open + part(np.abs(numbers.close - numbers.open)) * np.sign(numbers.close - numbers.open)
    return numbers._replace(
        high=np.maximum(np.maximum(numbers.open, close), numbers.open + part(numbers.high - numbers.open)),
        low=np.minimum(np.minimum(numbers.open, close), numbers.open - part(numbers.open - numbers.low)),
        close=close,
        volume=part(numbers.volume),
        quote_volume=part(numbers.quote_volume),
        trades=part(numbers.trades),
        taker_base=part(numbers.taker_base),
        taker_quote=part(numbers.taker_quote),
    )


def generate(market: Market, symbol: str, interval: str | Interval, open_ms: int, seed: int = 0, life: int = 0) -> Bar:
    """The closed bar of `symbol` that opened at `open_ms`, whether or not it was listed then."""
    grid = Interval.parse(interval) if isinstance(interval, str) else interval
    style = style_of(market, symbol, seed, life)
    opens, closes = np.array([open_ms], np.int64), np.array([grid.next(open_ms)], np.int64)
    return compute([style], grid, opens, closes).bars(style)[0]
