"""The bodies of `ticker/24hr`, `ticker/price` and `ticker/bookTicker`. Pure.

The day of a ticker is made of 24 hour candles, the open one last; its best prices are a tick off the last price.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bmacdb.interval import HOUR_MS, Interval
from bmacdb.model import Market
from bmacdb.simulated.generate import Style, forming
from bmacdb.simulated.listing import Instrument
from bmacdb.simulated.ticks import decimal_text, last_prices, quote
from bmacdb.simulated.universe import Universe

__all__ = ["Row", "book_tickers", "day_tickers", "price_tickers"]

_HOUR = Interval.parse("1h")
_HOURS = 24

Row = dict[str, object]


def _pair(instrument: Instrument, name: str) -> Row:
    return {name: instrument.pair} if instrument.market is Market.COIN_FUTURES else {}


def _time(instrument: Instrument, now_ms: int) -> Row:
    return {} if instrument.market is Market.SPOT else {"time": now_ms}


def price_tickers(universe: Universe, instruments: Sequence[Instrument], now_ms: int) -> list[Row]:
    """The last price of each symbol."""
    return [
        {
            "symbol": one.symbol,
            **_pair(one, "ps"),
            "price": decimal_text(one.market, price, style.price_decimals),
            **_time(one, now_ms),
        }
        for one, (style, price) in zip(instruments, last_prices(universe, instruments, now_ms), strict=True)
    ]


def book_tickers(universe: Universe, instruments: Sequence[Instrument], now_ms: int) -> list[Row]:
    """The best bid and ask of each symbol."""
    rows = []
    for one, (style, price) in zip(instruments, last_prices(universe, instruments, now_ms), strict=True):
        names = ("bidPrice", "bidQty", "askPrice", "askQty")
        book = dict(zip(names, quote(one.market, style, price, now_ms), strict=True))
        update = {} if one.market is Market.SPOT else {"lastUpdateId": now_ms}
        rows.append({**update, "symbol": one.symbol, **_pair(one, "pair"), **book, **_time(one, now_ms)})
    return rows


def day_tickers(universe: Universe, instruments: Sequence[Instrument], now_ms: int) -> list[Row]:
    """The last 24 hours of each symbol."""
    if not instruments:
        return []
    found = [(one, universe.style(one, one.life_at(now_ms) or one.lives[0])) for one in instruments]
    first_ms = _HOUR.shift(_HOUR.floor(now_ms), 1 - _HOURS)
    hours = [universe.at_once(found, _HOUR, first_ms + place * HOUR_MS) for place in range(_HOURS)]
    hours[-1] = forming(hours[-1], now_ms)
    young = np.array([(one.life_at(now_ms) or one.lives[0]).onboard_ms for one in instruments])
    there = np.array([hour.next_ms > young for hour in hours])  # an hour before a listing has no candle
    there[-1] = True
    begin = there.argmax(axis=0)
    column = {name: np.array([getattr(hour, name) for hour in hours]) for name in hours[0]._fields}
    opened = np.take_along_axis(column["open"], begin[None], 0)[0]
    high = np.where(there, column["high"], 0).max(axis=0)
    low = np.where(there, column["low"], 1 << 62).min(axis=0)
    sums = {name: np.where(there, column[name], 0).sum(axis=0) for name in ("volume", "quote_volume", "trades")}
    last = last_prices(universe, instruments, now_ms)
    numbers = zip(opened.tolist(), high.tolist(), low.tolist(), *(one.tolist() for one in sums.values()), strict=True)
    return [
        _day(one, style, price, numbers_of_one, max(now_ms - 24 * HOUR_MS, 0), now_ms)
        for (one, style), (_, price), numbers_of_one in zip(found, last, numbers, strict=True)
    ]


def _day(one: Instrument, style: Style, last: int, numbers: tuple[int, ...], open_ms: int, now_ms: int) -> Row:
    opened, high, low, volume, quote_volume, trades = numbers
    scale, coin = 10.0**style.price_decimals, one.market is Market.COIN_FUTURES
    value, base = quote_volume / 10**style.quote_decimals, volume / 10**style.volume_decimals
    if coin:  # contracts of a fixed value in USD over their volume in the asset
        value, base = base * style.contract_size, value
    mean = value / base if base else last / scale

    def price(number: int) -> str:
        return decimal_text(one.market, number, style.price_decimals)

    bid, bid_size, ask, ask_size = quote(one.market, style, last, now_ms)
    book = {"bidPrice": bid, "bidQty": bid_size, "askPrice": ask, "askQty": ask_size}
    return {
        "symbol": one.symbol,
        **_pair(one, "pair"),
        "priceChange": ("-" if last < opened else "") + price(abs(last - opened)),
        "priceChangePercent": f"{100 * (last - opened) / opened:.3f}",
        "weightedAvgPrice": f"{mean:.8f}",
        **({"prevClosePrice": price(opened)} if one.market is Market.SPOT else {}),
        "lastPrice": price(last),
        "lastQty": bid_size,
        **(book if one.market is Market.SPOT else {}),
        "openPrice": price(opened),
        "highPrice": price(max(high, last)),
        "lowPrice": price(min(low, last)),
        "volume": decimal_text(one.market, volume, style.volume_decimals),
        "baseVolume" if coin else "quoteVolume": decimal_text(one.market, quote_volume, style.quote_decimals),
        "openTime": open_ms,
        "closeTime": now_ms,
        "firstId": open_ms // 10,
        "lastId": open_ms // 10 + trades - 1,
        "count": trades,
    }
