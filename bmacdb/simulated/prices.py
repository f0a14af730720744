"""Candles of prices that nobody trades at: mark, index and premium. Pure.

Mark and index follow the contract's own price, as `premiumIndex` has them; the premium is the funding rate that runs.
"""

from __future__ import annotations

from bmacdb.interval import HOUR_MS
from bmacdb.model import Market
from bmacdb.simulated.funding import settled_rate
from bmacdb.simulated.generate import Numbers, Style
from bmacdb.simulated.ticks import decimal_text

__all__ = ["premium_rows", "price_rows"]


def _row(opens: int, after: int, prices: list[str], count: int) -> list[object]:
    return [opens, *prices, "0", after - 1, "0", count, "0", "0", "0"]


def price_rows(style: Style, numbers: Numbers) -> list[list[object]]:
    """Rows of `markPriceKlines` and `indexPriceKlines`: eight decimals, a number a second, no volumes."""
    columns = (numbers.opens_ms, numbers.next_ms, numbers.open, numbers.high, numbers.low, numbers.close)
    scale = style.price_decimals
    return [
        _row(opens, after, [decimal_text(Market.SPOT, one, scale) for one in prices], (after - opens) // 1000)
        for opens, after, *prices in zip(*(column.tolist() for column in columns), strict=True)
    ]


def premium_rows(style: Style, numbers: Numbers, now_ms: int) -> list[list[object]]:
    """Rows of `premiumIndexKlines`: the rate changes every hour, up to `now_ms`."""
    rows = []
    for opens, after in zip(numbers.opens_ms.tolist(), numbers.next_ms.tolist(), strict=True):
        hours = range(opens // HOUR_MS * HOUR_MS, min(after, now_ms + 1), HOUR_MS)
        rates = [settled_rate(style.key, hour) for hour in hours]
        prices = [rates[0], max(rates, key=float), min(rates, key=float), rates[-1]]
        rows.append(_row(opens, after, prices, (after - opens) // 5000))
    return rows
