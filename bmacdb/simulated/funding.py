"""Funding at the stand-in exchange: a rate for each symbol and funding time, and what runs towards the next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from bmacdb.interval import HOUR_MS, MINUTE_MS, Interval
from bmacdb.model import Market
from bmacdb.simulated.generate import compute
from bmacdb.simulated.listing import Instrument, funding_hours
from bmacdb.simulated.universe import Universe

__all__ = [
    "RunningRate",
    "funding_info",
    "funding_rates",
    "premium_index",
    "running_rates",
    "settled_history",
    "settled_rate",
]

_MINUTE = Interval.parse("1m")


def settled_rate(key: int, funding_ms: int) -> str:
    """The rate settled at a funding time, between -0.05 % and 0.1 %."""
    dice = (key ^ funding_ms // HOUR_MS * 0x9E3779B97F4A7C15) * 0xBF58476D1CE4E5B9 % 2**64 >> 40
    return f"{(dice % 150_000 - 50_000) / 1e8:.8f}"


def _stamp(key: int, funding_ms: int) -> int:
    """Funding times are some milliseconds late at times."""
    return funding_ms + (key >> 7 ^ funding_ms // HOUR_MS) % 5


def _marks(universe: Universe, instruments: Sequence[Instrument], at_ms: int) -> list[str]:
    """The price of each symbol at the open of the minute `at_ms` lies in."""
    if not instruments:
        return []
    lives = [one.life_at(at_ms) or one.lives[0] for one in instruments]
    styles = [universe.style(one, life) for one, life in zip(instruments, lives, strict=True)]
    opens = np.full(len(styles), at_ms // MINUTE_MS * MINUTE_MS, np.int64)
    prices = compute(styles, _MINUTE, opens, opens + MINUTE_MS).open.tolist()
    return [f"{price / 10**style.price_decimals:.8f}" for price, style in zip(prices, styles, strict=True)]


class RunningRate(NamedTuple):
    """What runs towards a symbol's next funding, as texts; where none is to come, no rates and a time of 0."""

    price: str
    rate: str
    interest: str
    next_ms: int


def running_rates(universe: Universe, instruments: Sequence[Instrument], now_ms: int) -> list[RunningRate]:
    """The mark price of each symbol and the rate of the funding period that runs."""
    found = []
    for instrument, price in zip(instruments, _marks(universe, instruments, now_ms), strict=True):
        if not (period := funding_hours(instrument) * HOUR_MS):
            found.append(RunningRate(price, "", "", 0))
            continue
        key = universe.style(instrument, instrument.life_at(now_ms) or instrument.lives[0]).key
        rate = settled_rate(key, now_ms // MINUTE_MS * MINUTE_MS)
        found.append(RunningRate(price, rate, "0.00010000", (now_ms // period + 1) * period))
    return found


def premium_index(universe: Universe, market: Market, instruments: Sequence[Instrument], now_ms: int) -> list[str]:
    """The rows of `premiumIndex`."""
    coin = market is Market.COIN_FUTURES
    none = "0.00000000" if coin else ""  # both are seen where no funding is to come: nothing, and a rate of zero
    rows = []
    for instrument, now in zip(instruments, running_rates(universe, instruments, now_ms), strict=True):
        pair = f'"pair":"{instrument.pair}",' if coin else ""
        rows.append(
            f'{{"symbol":"{instrument.symbol}",{pair}"markPrice":"{now.price}","indexPrice":"{now.price}",'
            f'"estimatedSettlePrice":"{now.price}","lastFundingRate":"{now.rate or none}",'
            f'"interestRate":"{now.interest or none}","nextFundingTime":{now.next_ms},"time":{now_ms}}}'
        )
    return rows


def _times(instrument: Instrument, start_ms: int, end_ms: int, limit: int, *, newest: bool) -> list[int]:
    """The funding times in [start, end] at which the symbol traded."""
    period = funding_hours(instrument) * HOUR_MS
    if not period:
        return []
    times: list[int] = []
    for life in instrument.lives:
        first = -(-max(start_ms - 4, life.onboard_ms + 1) // period) * period  # a late stamp may still be in
        last = end_ms if life.end_ms is None else min(end_ms, life.end_ms - 1)
        last = last // period * period
        if newest:
            first = max(first, last - (limit - 1) * period)
        else:
            last = min(last, first + limit * period)
        times.extend(range(first, last + 1, period))
    return times[-limit:] if newest else times


def funding_rates(
    universe: Universe,
    instruments: Iterable[Instrument],
    *,
    start_ms: int | None,
    end_ms: int | None,
    limit: int,
    now_ms: int,
    market: Market,
) -> list[str]:
    """The rows of `fundingRate`, in order of time; the oldest `limit` from `start_ms`, or the latest."""
    newest = start_ms is None
    until_ms = now_ms if end_ms is None else min(end_ms, now_ms)
    settled = []
    for instrument in instruments:
        for time in _times(instrument, start_ms or 0, until_ms, limit, newest=newest):
            life = instrument.life_at(time) or instrument.lives[0]
            style = universe.style(instrument, life)
            stamp = _stamp(style.key, time)
            if (start_ms or 0) <= stamp <= until_ms:
                settled.append((stamp, instrument.symbol, settled_rate(style.key, time), instrument, time))
    settled.sort(key=lambda row: row[:2])
    rows = []
    for stamp, symbol, rate, instrument, time in settled[-limit:] if newest else settled[:limit]:
        row = f'{{"symbol":"{symbol}","fundingTime":{stamp},"fundingRate":"{rate}"'
        if market is Market.USDT_FUTURES:
            (price,) = _marks(universe, [instrument], time)
            row += f',"markPrice":"{price}","rateType":"Regular"'
        rows.append(row + "}")
    return rows


def settled_history(universe: Universe, instrument: Instrument, start_ms: int, end_ms: int) -> list[str]:
    """The rows of the archive's funding file: stamp, hours between fundings, and rate, of [start, end)."""
    hours = funding_hours(instrument)
    rows = []
    for time in _times(instrument, start_ms, end_ms - 1, 2**31, newest=False):
        key = universe.style(instrument, instrument.life_at(time) or instrument.lives[0]).key
        if start_ms <= (stamp := _stamp(key, time)) < end_ms:
            rows.append(f"{stamp},{hours},{settled_rate(key, time)}")
    return rows


def funding_info(instruments: Iterable[Instrument], now_ms: int) -> list[str]:
    """The rows of `fundingInfo`: symbols whose funding is not every eight hours."""
    return [
        f'{{"symbol":"{one.symbol}","adjustedFundingRateCap":"0.02000000","adjustedFundingRateFloor":"-0.02000000",'
        f'"fundingIntervalHours":{funding_hours(one)},"disclaimer":false,"updateTime":{now_ms // HOUR_MS * HOUR_MS}}}'
        for one in instruments
        if funding_hours(one) in (1, 4)
    ]
