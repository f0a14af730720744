"""Factors over a panel in memory have the bits that they have over the database."""

from __future__ import annotations

import duckdb
import pandas as pd
import pytest

from bmacdb.errors import UsageError
from bmacdb.factors.library import Library, bundled_names
from bmacdb.kit import compute
from bmacdb.kit.database import DatabaseSource
from bmacdb.kit.engine import compute_plan
from bmacdb.kit.panel import PanelSource
from bmacdb.live.panel import Panel
from tests.factor.support import FEED, START_MS, Make, at, candles, database, rough_market

STEP = 300_000
BARS = 220
SINGLE = sorted(name for name in bundled_names() if not name.startswith(("Cs",)) and name != "AmihudRank")
ALL = [(name, "3,6,4" if name == "Macd" else 12) for name in SINGLE if not name.startswith("Alpha")]
ALPHA = [name for name in SINGLE if name.startswith("Alpha")][::9]
CROSS = ["CsRank:PctChg:12", "CsZscore:Bias:12", "AmihudRank:6"]
MODULES = {
    "Mean.py": "def signal(*args):\n    df, n, name = args[:3]\n    df[name] = df['close'].rolling(n).mean()\n"
    "    return df\n",
    "Rate.py": "def signal(*args):\n    df, n, name = args[:3]\n    df[name] = df['fundingRate'].rolling(n).sum()\n"
    "    return df\n",
    "Loop.py": "LOOKBACK = 20\n\n\ndef signal(*args):\n    df, n, name = args[:3]\n"
    "    df[name] = [float(sum(df['close'][max(i - n, 0):i])) for i in range(len(df))]\n    return df\n",
}


def panel_of(connection: duckdb.DuckDBPyConnection, window: int, newest_ms: int) -> Panel:
    """A panel that was given the rows of the database, period by period as they come."""
    source = DatabaseSource.of(connection)
    panel = Panel(FEED, source.interval, window, START_MS, fundings=True)
    rows = connection.execute(f'FROM "{FEED}".candles ORDER BY open_time, symbol').to_arrow_table()
    for low in range(0, rows.num_rows, 7):  # in any portions
        panel.apply(rows.slice(low, 7))
    panel.apply_fundings(connection.execute(f'FROM "{FEED}".funding_rates').to_arrow_table())
    panel.advance(newest_ms)
    return panel


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    frames = [*rough_market(BARS), candles("LATEUSDT", BARS, seed=9, missing=range(BARS - 3))]
    found = database(frames)
    found.execute(
        "INSERT INTO usdt_perp_5m.funding_rates SELECT symbol, open_time + INTERVAL '7 milliseconds', 'Regular', "
        "(open - 50) / 1000, NULL FROM usdt_perp_5m.candles WHERE epoch_ms(open_time) % 3600000 = 0"
    )
    return found


@pytest.mark.parametrize("asked", [None, ["AUSDT", "LATEUSDT"]], ids=["market", "two"])
def test_a_panel_gives_the_bits_of_the_database(
    connection: duckdb.DuckDBPyConnection, package: Make, asked: list[str] | None
) -> None:
    """Every kind of factor, at one run time and over ranges, with gaps, quiet bars and late symbols."""
    last = START_MS + (BARS - 1) * STEP
    disk = DatabaseSource.of(connection)
    memory = PanelSource(panel_of(connection, BARS, last), disk)
    plan = Library(package(MODULES)).plan([*ALL, *ALPHA, *CROSS, ("Mean", 10), ("Rate", 12), ("Loop", 5)])
    for first, end in ((last, last), (last - 30 * STEP, last - 7 * STEP)):
        there, here = (compute_plan(source, plan, first, end, asked, exact=False) for source in (disk, memory))
        pd.testing.assert_frame_equal(here.frame, there.frame, check_exact=True)
        assert here.failures == there.failures
        assert here.warnings == there.warnings
        assert len(here.frame)


def test_compute_takes_a_panel_alone(connection: duckdb.DuckDBPyConnection) -> None:
    """Without a database; what its window does not hold is refused, with the window."""
    last = START_MS + (BARS - 1) * STEP
    panel = panel_of(connection, 60, last)
    factors, runs = ["PctChg:12", "CsRank:PctChg:12"], (at(last - 5 * STEP), at(last + STEP))
    pd.testing.assert_frame_equal(
        compute(panel, factors, None, *runs), compute(connection, factors, None, *runs), check_exact=True
    )
    with pytest.raises(UsageError, match="window of 60 bars"):
        compute(panel, ["PctChg:100"], None, *runs)
    with pytest.raises(UsageError, match="longer window"):
        compute(panel, factors, None, at(START_MS + 20 * STEP), at(last))
