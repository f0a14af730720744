"""The candles that are still open: the newest frame of each symbol, kept only while somebody wants them."""

from __future__ import annotations

from contextlib import suppress

from bmacdb.errors import Malformed
from bmacdb.exchange.frames import parse_kline_frame
from bmacdb.model import Candle, Feed

__all__ = ["OpenCandles"]


class OpenCandles:
    """Of one feed. A connection puts frames into `frames` while `wanted`; parsing waits until they are taken."""

    def __init__(self) -> None:
        self.wanted = False
        self.frames: dict[bytes | None, bytes] = {}  # by symbol in lower case

    def take(self, feed: Feed) -> list[Candle]:
        """The candles that changed since the last time, each as it is now."""
        frames, self.frames = self.frames, {}
        found: list[Candle] = []
        for frame in frames.values():
            with suppress(Malformed):  # closed candles are what counts; a frame of those is reported
                event = parse_kline_frame(frame, open_too=True)
                if event is not None and event.interval == feed.interval.name:
                    found.append(event.candle)
        return found
