"""What flows every second beside candles: mark prices of futures, and the best bid and ask. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from bmacdb.interval import Interval
from bmacdb.model import Market
from bmacdb.simulated.encode import Frame, StreamKey
from bmacdb.simulated.funding import running_rates
from bmacdb.simulated.generate import Style, forming
from bmacdb.simulated.listing import Instrument
from bmacdb.simulated.streams import parse_stream
from bmacdb.simulated.universe import Universe

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
    """The frames of the second that begins at `now_ms`, for streams of mark prices and of quotes.

    All symbols at a time: one by one, six hundred of them would take a third of the second.
    """
    wanted: dict[str, list[tuple[StreamKey, list[Instrument]]]] = {"markPrice": [], "bookTicker": []}
    for key in keys:
        futures, name = key
        parsed = parse_stream(name)
        if parsed is None or parsed.kind not in wanted:
            continue
        if parsed.kind == "markPrice" and parsed.detail != "1s" and now_ms // 1000 % 3:
            continue
        if parsed.subject == "!":
            markets = _FUTURES if futures else (Market.SPOT,)
            instruments = [one for market in markets for one in universe.trading(market, now_ms)]
        else:
            found = universe.find(parsed.subject.upper(), futures=futures)
            instruments = [] if found is None or found.status(now_ms) != "TRADING" else [found]
        wanted[parsed.kind].append((key, instruments))
    frames: list[tuple[StreamKey, Frame]] = []
    marks = _events(wanted["markPrice"], lambda several: _marks(universe, several, now_ms))
    for key, instruments in wanted["markPrice"]:
        events = [marks[one.market, one.symbol] for one in instruments]
        if not key[1].startswith("!"):
            frames += [_frame(key, one, event) for one, event in zip(instruments, events, strict=True)]
            continue
        # Crypto and the rest apart, as the exchange sends them.
        tradfi = [one.contract_type == "TRADIFI_PERPETUAL" for one in instruments]
        for apart in (False, True):
            part = ",".join(event for event, rest in zip(events, tradfi, strict=True) if rest is apart)
            if part:
                frames.append((key, Frame.of(key[1], Market.USDT_FUTURES, "", f"[{part}]")))
    quotes = _events(wanted["bookTicker"], lambda several: _quotes(universe, several, now_ms))
    for key, instruments in wanted["bookTicker"]:
        frames += [_frame(key, one, quotes[one.market, one.symbol]) for one in instruments]
    return frames


def _events(
    wanted: Sequence[tuple[StreamKey, list[Instrument]]], make: Callable[[list[Instrument]], list[str]]
) -> dict[tuple[Market, str], str]:
    """The event of each instrument that is wanted, made once."""
    each = {(one.market, one.symbol): one for _, instruments in wanted for one in instruments}
    return dict(zip(each, make(list(each.values())), strict=True))


def _frame(key: StreamKey, one: Instrument, event: str) -> tuple[StreamKey, Frame]:
    return key, Frame.of(key[1], one.market, one.symbol, event)


def _quotes(universe: Universe, instruments: Sequence[Instrument], now_ms: int) -> list[str]:
    events = []
    for one, (style, price) in zip(instruments, last_prices(universe, instruments, now_ms), strict=True):
        bid, bid_size, ask, ask_size = quote(one.market, style, price, now_ms)
        book = f'"u":{now_ms},"s":"{one.symbol}","b":"{bid}","B":"{bid_size}","a":"{ask}","A":"{ask_size}"'
        if one.market is not Market.SPOT:
            book = f'"e":"bookTicker","E":{now_ms},"T":{now_ms},{book},"ps":"{one.pair}","st":{_side(one)}'
        events.append(f"{{{book}}}")
    return events


def _marks(universe: Universe, instruments: Sequence[Instrument], now_ms: int) -> list[str]:
    return [
        f'{{"e":"markPriceUpdate","E":{now_ms},"s":"{one.symbol}","p":"{now.price}","ap":"{now.price}",'
        f'"P":"{now.price}","i":"{now.price}","r":"{now.rate}","T":{now.next_ms},"st":{_side(one)}}}'
        for one, now in zip(instruments, running_rates(universe, instruments, now_ms), strict=True)
    ]


def _side(instrument: Instrument) -> int:
    return 1 if instrument.market is Market.USDT_FUTURES else 2
