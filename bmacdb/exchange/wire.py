"""The wire format: JSON bytes of the exchange to values of the model, and nothing else.

Everything here is pure and raises errors.Malformed, with an excerpt, for what does not parse.
`frames` reads websocket frames, `bodies` REST bodies; import them from here.
"""

from bmacdb.exchange.bodies import (
    ExchangeInfo,
    RestBar,
    parse_error,
    parse_exchange_info,
    parse_funding_rates,
    parse_klines,
    parse_premium_index,
    parse_server_time,
)
from bmacdb.exchange.frames import (
    Ack,
    KlineEvent,
    ServerShutdown,
    SubscribeError,
    parse_control,
    parse_kline_frame,
    stream_of,
)

__all__ = [
    "Ack",
    "ExchangeInfo",
    "KlineEvent",
    "RestBar",
    "ServerShutdown",
    "SubscribeError",
    "parse_control",
    "parse_error",
    "parse_exchange_info",
    "parse_funding_rates",
    "parse_kline_frame",
    "parse_klines",
    "parse_premium_index",
    "parse_server_time",
    "stream_of",
]
