"""Hold the symbols that rose most over the last hours, weighed anew whenever the market is complete.

python examples/trend.py bmac.duckdb                          live, beside `bmacdb run`
python examples/trend.py bmac.duckdb 2024-08-03T00:00:00Z     over the record from then on, then live
"""

from __future__ import annotations

import sys

import numpy as np

import bmacdb
from bmacdb.live.events import CompleteEvent, Event

BARS, HELD = 20, 3


def main(path: str, start: str | None = None) -> None:
    """Print the symbols to hold at each run time."""
    with bmacdb.subscribe(path, window=BARS + 1, start=start) as market:
        for event in market:
            match event:
                case CompleteEvent(run_time, complete=True):
                    grid = market.panel.grid(BARS + 1, round(run_time.timestamp() * 1000))
                    close = grid.columns["close"]
                    rise = close[-1] / close[0] - 1  # null where either candle is missing
                    best = np.argsort(-np.nan_to_num(rise, nan=-np.inf))[:HELD]
                    held = [f"{market.panel.symbols[n]} {rise[n]:+.2%}" for n in best if np.isfinite(rise[n])]
                    print(run_time.isoformat(), *held, flush=True)
                case CompleteEvent(run_time, late=late):
                    print(run_time.isoformat(), "is late:", *late, flush=True)
                case Event():
                    pass  # candles, fundings, listings and delistings, as they come


if __name__ == "__main__":
    main(*sys.argv[1:])
