"""A panel held against its database, cell by cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import bmacdb
from bmacdb.clock import from_ms
from bmacdb.factors.columns import CANDLE_COLUMNS
from bmacdb.live.panel import Panel

__all__ = ["same_as_database"]


def same_as_database(panel: Panel, path: Path) -> int:
    """Every cell of the panel is that of the database, and no candle of it is elsewhere. Returns how many there are."""
    values = ", ".join(f"{name}::DOUBLE" for name in CANDLE_COLUMNS)
    query = f"SELECT symbol, epoch_ms(open_time), {values} FROM {panel.feed}.candles WHERE open_time >= $start"
    with bmacdb.connect(path) as reader:
        rows = {(row[0], row[1]): row[2:] for row in reader.sql(query, {"start": from_ms(int(panel.opens[0]))})}
    found = {
        (symbol, int(open_ms)): tuple(float(panel[name][bar, place]) for name in CANDLE_COLUMNS)
        for place, symbol in enumerate(panel.symbols)
        for bar, open_ms in enumerate(panel.opens)
        if panel.there[bar, place]
    }
    assert found == rows, f"{sorted(found.items() ^ rows.items())[:4]}"
    assert np.isnan(panel["close"][~panel.there]).all()
    return len(found)
