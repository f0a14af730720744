"""What the name of a websocket stream stands for. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

__all__ = ["StreamName", "parse_stream"]

_NAMES = (
    re.compile(r"(?P<subject>[^@!]+)@(?P<kind>kline|continuousKline)_(?P<detail>\w+)"),
    re.compile(r"(?P<subject>[^@!]+)@(?P<kind>markPrice)(?:@(?P<detail>1s))?"),
    re.compile(r"(?P<subject>!)(?P<kind>markPrice)@arr(?:@(?P<detail>1s))?"),
    re.compile(r"(?P<subject>[^@!]+|!)(?:(?<=!)|@)(?P<kind>bookTicker)(?P<detail>)"),
)


class StreamName(NamedTuple):
    """`subject`: a symbol, a pair with its contract type, or `!` for the whole market. `detail`: interval or speed."""

    kind: str
    subject: str
    detail: str


@lru_cache(maxsize=100_000)
def parse_stream(name: str) -> StreamName | None:
    """The parts of a stream's name; None for one that is none of ours. Symbols are lower case, as the exchange has it.

    `btcusdt@kline_1m`, `btcusdt_perpetual@continuousKline_1m`, `btcusdt@markPrice@1s`, `!markPrice@arr@1s`,
    `btcusdt@bookTicker`, `!bookTicker`.
    """
    for pattern in _NAMES:
        if found := pattern.fullmatch(name):
            if found["subject"] != found["subject"].lower():
                return None
            return StreamName(found["kind"], found["subject"], found["detail"] or "")
    return None
