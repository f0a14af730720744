"""JSON as the exchange writes it: rows of `klines`, and websocket frames ready for the transport.

Written with templates of our own and not with the library that the recorder parses with, so that no
mistake can cancel out. A template is filled for a whole page at once: that is what makes it fast.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from bmacdb.model import Market
from bmacdb.simulated.generate import Ints, Numbers, Style

__all__ = ["Frame", "Label", "StreamKey", "binary_frame", "kline_payloads", "rows_json", "text_frame"]

StreamKey = tuple[bool, str]
"""Whether it is a futures stream, and its name: `(True, "btcusdt@kline_1m")`."""

Label = str | tuple[str, str]
"""What a stream of candles is named after: a symbol, or a pair and its contract type."""

_SPOT_DECIMALS = 8  # spot pads every number to eight decimals


def _number(decimals: int, *, padded: bool) -> str:
    zeros = "0" * (_SPOT_DECIMALS - decimals) if padded else ""
    if decimals == 0:
        return f'"%d.{zeros}"' if zeros else '"%d"'
    return f'"%d.%0{decimals}d{zeros}"'


def _split(column: Ints, decimals: int) -> list[Ints]:
    """The whole part, and the decimals where there are any."""
    if decimals == 0:
        return [column]
    whole, rest = np.divmod(column, 10**decimals)
    return [whole, rest]


@lru_cache(maxsize=4096)
def _row_template(market: Market, price: int, volume: int, quote: int) -> str:
    padded = market is Market.SPOT
    p, v, q = (_number(decimals, padded=padded) for decimals in (price, volume, quote))
    return f'[%d,{p},{p},{p},{p},{v},%d,{q},%d,{v},{q},"0"],'


def rows_json(market: Market, style: Style, numbers: Numbers) -> str:
    """The rows of `klines` of one symbol, each followed by a comma."""
    count = len(numbers.opens_ms)
    if count == 0:
        return ""
    price, volume, quote = style.price_decimals, style.volume_decimals, style.quote_decimals
    columns = [
        numbers.opens_ms,
        *_split(numbers.open, price),
        *_split(numbers.high, price),
        *_split(numbers.low, price),
        *_split(numbers.close, price),
        *_split(numbers.volume, volume),
        numbers.next_ms - 1,
        *_split(numbers.quote_volume, quote),
        numbers.trades,
        *_split(numbers.taker_base, volume),
        *_split(numbers.taker_quote, quote),
    ]
    flat = np.stack(columns, axis=1).ravel().tolist()
    return _row_template(market, price, volume, quote) * count % tuple(flat)


@lru_cache(maxsize=100_000)
def _kline_template(
    market: Market, label: Label, interval: str, price: int, volume: int, quote: int, closed: bool
) -> str:
    padded = market is Market.SPOT
    p, v, q = (_number(decimals, padded=padded) for decimals in (price, volume, quote))
    if isinstance(label, str):
        head, symbol = f'"e":"kline","E":%d,"s":"{label}"', f'"s":"{label}",'
    else:
        head, symbol = f'"e":"continuous_kline","E":%d,"ps":"{label[0]}","ct":"{label[1]}"', ""
    return (
        f'{{{head},"k":{{"t":%d,"T":%d,{symbol}"i":"{interval}","f":%d,"L":%d,'
        f'"o":{p},"c":{p},"h":{p},"l":{p},"v":{v},"n":%d,"x":{"true" if closed else "false"},'
        f'"q":{q},"V":{v},"Q":{q},"B":"0"}}}}'
    )


def _parts(value: int, decimals: int) -> tuple[int, ...]:
    return divmod(value, 10**decimals) if decimals else (value,)


def kline_payloads(
    instruments: Sequence[tuple[Market, Label, Style]],
    interval: str,
    numbers: Numbers,
    events_ms: Sequence[int],
    *,
    closed: bool,
) -> list[str]:
    """The `kline` or `continuous_kline` event of each instrument (one bar each), sent at `events_ms`."""
    payloads = []
    lists = zip(*(column.tolist() for column in numbers), events_ms, instruments, strict=True)
    for opens, after, open_, high, low, close, volume, quote, trades, taker, taker_quote, event, instrument in lists:
        market, label, style = instrument
        p, v, q = style.price_decimals, style.volume_decimals, style.quote_decimals
        # Trade ids: a thousand a second would be many; no trade, no id.
        first, last = (opens // 10, opens // 10 + trades - 1) if trades else (-1, -1)
        payloads.append(
            _kline_template(market, label, interval, p, v, q, closed)
            % (
                event,
                opens,
                after - 1,
                first,
                last,
                *_parts(open_, p),
                *_parts(close, p),
                *_parts(high, p),
                *_parts(low, p),
                *_parts(volume, v),
                trades,
                *_parts(quote, q),
                *_parts(taker, v),
                *_parts(taker_quote, q),
            )
        )
    return payloads


def text_frame(payload: bytes) -> bytes:
    """A whole websocket text frame, as a server sends it (unmasked, in one piece)."""
    return _frame(0x81, payload)


def binary_frame(payload: bytes) -> bytes:
    """The same, marked as binary."""
    return _frame(0x82, payload)


def _frame(head: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((head, size)) + payload
    if size < 1 << 16:
        return bytes((head, 126)) + size.to_bytes(2, "big") + payload
    return bytes((head, 127)) + size.to_bytes(8, "big") + payload


@dataclass(frozen=True, slots=True)
class Frame:
    """Bytes for the wire: as `/stream` sends them, and as `/ws` does."""

    combined: bytes
    raw: bytes
    market: Market
    symbol: str

    @classmethod
    def of(cls, name: str, market: Market, symbol: str, payload: str) -> Frame:
        """The frames of an event of the stream called `name`."""
        combined = f'{{"stream":"{name}","data":{payload}}}'
        return cls(text_frame(combined.encode()), text_frame(payload.encode()), market, symbol)

    def altered(self) -> Frame:
        """The same with a digit more in front of the volume."""
        combined, raw = (
            text_frame(re.sub(rb'"v":"', rb'"v":"1', frame[4:], count=1)) for frame in (self.combined, self.raw)
        )
        return Frame(combined, raw, self.market, self.symbol)

    def cut(self) -> Frame:
        """The same with only the first half of the JSON, in a frame that is whole."""
        combined, raw = (text_frame(frame[4 : 4 + len(frame) // 2]) for frame in (self.combined, self.raw))
        return Frame(combined, raw, self.market, self.symbol)
