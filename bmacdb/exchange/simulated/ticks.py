"""What flows every second beside candles: mark prices of futures, and the best bid and ask. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from bmacdb.exchange.simulated.encode import Frame, StreamKey
from bmacdb.exchange.simulated.funding import premium_index
from bmacdb.exchange.simulated.generate import Style, forming
from bmacdb.exchange.simulated.listing import Instrument
from bmacdb.exchange.simulated.streams import parse_stream
from bmacdb.exchange.simulated.universe import Universe
from bmacdb.interval import Interval
from bmacdb.model import Market

__all__ = ["decimal_text", "last_prices", "quote", "tick_frames"]

_MINUTE = Interval.parse("1m")
_FUTURES = (Market.USDT_FUTURES, Market.COIN_FUTURES)


def decimal_text(market: Market, number: int, decimals: int) -> str:
    """A whole number of steps as the exchange prints it: spot with eight decimals, futures with the symbol's own."""
    shown = 8 if market is Market.SPOT else decimals
    digits = f"{number * 10 ** (shown - decimals):0{shown + 1}d}"
    return f"{digits[:-shown]}.{digits[-shown:]}" if shown else digits


def last_prices(universe: Universe, instruments: Sequence[Instrument], now_ms: int) -> list[tuple[Style, int]]:
    """How each symbol trades, and its last price in ticks: where the open minute's candle stands."""
    if not instruments:
        return []
    found = [(one, universe.style(one, one.life_at(now_ms) or one.lives[0])) for one in instruments]
    numbers = forming(universe.at_once(found, _MINUTE, _MINUTE.floor(now_ms)), now_ms)
    return [(style, price) for (_, style), price in zip(found, numbers.close.tolist(), strict=True)]


def quote(market: Market, style: Style, price: int, now_ms: int) -> tuple[str, str, str, str]:
    """Best bid, its quantity, best ask, its quantity: a tick below the last price and a tick above."""
    sizes = (1 + (style.key ^ now_ms // 1000) % 997, 1 + (style.key >> 9 ^ now_ms // 1000) % 997)
    bid, ask = (decimal_text(market, price + step, style.price_decimals) for step in (-1, 1))
    bid_size, ask_size = (decimal_text(market, size, style.volume_decimals) for size in sizes)
    return bid, bid_size, ask, ask_size


def tick_frames(universe: Universe, keys: Iterable[StreamKey], now_ms: int) -> list[tuple[StreamKey, Frame]]:
    """The frames of the second that begins at `now_ms`, for streams of mark prices and of quotes."""
    frames: list[tuple[StreamKey, Frame]] = []
    for key in keys:
        futures, name = key
        parsed = parse_stream(name)
        if parsed is None or parsed.kind not in ("markPrice", "bookTicker"):
            continue
        if parsed.kind == "markPrice" and parsed.detail != "1s" and now_ms // 1000 % 3:
            continue
        if parsed.subject == "!":
            markets = _FUTURES if futures else (Market.SPOT,)
            instruments = [one for market in markets for one in universe.trading(market, now_ms)]
        else:
            instrument = universe.find(parsed.subject.upper(), futures=futures)
            if instrument is None or instrument.status(now_ms) != "TRADING":
                continue
            instruments = [instrument]
        if parsed.kind == "bookTicker":
            frames += [(key, frame) for frame in _quotes(universe, name, instruments, now_ms)]
        else:
            frames += [
                (key, frame) for frame in _marks(universe, name, instruments, now_ms, listed=parsed.subject == "!")
            ]
    return frames


def _quotes(universe: Universe, name: str, instruments: Sequence[Instrument], now_ms: int) -> list[Frame]:
    made = []
    for one, (style, price) in zip(instruments, last_prices(universe, instruments, now_ms), strict=True):
        bid, bid_size, ask, ask_size = quote(one.market, style, price, now_ms)
        event: dict[str, object] = {"u": now_ms, "s": one.symbol, "b": bid, "B": bid_size, "a": ask, "A": ask_size}
        if one.market is not Market.SPOT:
            event = {"e": "bookTicker", "E": now_ms, "T": now_ms, **event, "ps": one.pair, "st": _side(one)}
        made.append(Frame.of(name, one.market, one.symbol, _json(event)))
    return made


def _marks(
    universe: Universe, name: str, instruments: Sequence[Instrument], now_ms: int, *, listed: bool
) -> list[Frame]:
    """One frame of a symbol; of the whole market two, crypto and the rest apart, as the exchange sends them."""
    events = []
    for one, row in zip(instruments, premium_index(universe, Market.USDT_FUTURES, instruments, now_ms), strict=True):
        told = json.loads(row)
        prices = {"p": told["markPrice"], "ap": told["markPrice"], "P": told["estimatedSettlePrice"]}
        funding = {"i": told["indexPrice"], "r": told["lastFundingRate"], "T": told["nextFundingTime"]}
        events.append(
            {"e": "markPriceUpdate", "E": now_ms, "s": one.symbol, **prices, **funding, "st": _side(one)},
        )
    if not listed:
        return [Frame.of(name, instruments[0].market, instruments[0].symbol, _json(event)) for event in events]
    tradfi = [one.contract_type == "TRADIFI_PERPETUAL" for one in instruments]
    parts = ([e for e, apart in zip(events, tradfi, strict=True) if apart is wanted] for wanted in (False, True))
    return [Frame.of(name, Market.USDT_FUTURES, "", _json(part)) for part in parts if part]


def _side(instrument: Instrument) -> int:
    return 1 if instrument.market is Market.USDT_FUTURES else 2


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
