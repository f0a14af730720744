"""Factors that are whole queries over `bars`, with what the feed has beside candles."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bmacdb.errors import UsageError
from bmacdb.factors.library import Library
from bmacdb.factors.statement import statement
from bmacdb.kit import compute
from bmacdb.kit.database import DatabaseSource
from bmacdb.kit.engine import compute_plan
from tests.factor.support import FEED, START_MS, Make, at, database, rough_market

STEP = 300_000
BARS = 120
QUOTED = """-- Quoted: change against the mean of the symbols with the same quote asset.
-- params: n int >= 1 = 5
WITH moved AS (
    SELECT *, close / lag(close, $n) OVER bars - 1 AS change FROM bars
), asset AS (
    SELECT symbol, last(quote_asset ORDER BY valid_from) AS quote_asset FROM exginfo GROUP BY symbol
)
SELECT symbol, open_time, change - avg(change) OVER (PARTITION BY open_time, quote_asset) AS value
FROM moved LEFT JOIN asset USING (symbol)
"""
SETTLED = """-- Settled: the last funding rate that the recorder had.
SELECT b.symbol, b.open_time, f.funding_rate AS value
FROM bars b ASOF LEFT JOIN funding_rates f
    ON f.symbol = b.symbol AND f.funding_time + INTERVAL 2 MINUTE <= b.open_time + INTERVAL 5 MINUTE
"""
BREADTH = """-- Breadth: mean over n bars of the share of the market that rose.
-- params: n int = 6
WITH moved AS (SELECT *, close > lag(close) OVER bars AS rose FROM bars),
    market AS (SELECT open_time, avg(rose::INTEGER) AS share FROM moved GROUP BY open_time)
SELECT symbol, open_time, avg(share) OVER last_n AS value FROM moved JOIN market USING (open_time)
"""


@pytest.fixture(scope="module")
def source() -> DatabaseSource:
    connection = database(rough_market(BARS))
    connection.execute(
        f"INSERT INTO {FEED}.exginfo BY NAME SELECT DISTINCT symbol, TIMESTAMPTZ '2026-01-01' AS valid_from, symbol AS"
        " base_asset, 'TRADING' AS status, if(symbol < 'C', 'USDT', 'USDC') AS quote_asset,"
        " 0.1 AS price_tick, 1 AS lot_size"
        f" FROM {FEED}.candles"
    )
    connection.execute(
        f"INSERT INTO {FEED}.funding_rates SELECT symbol, open_time + INTERVAL '7 milliseconds', 'Regular', "
        f"(open - 50) / 1000, NULL FROM {FEED}.candles WHERE epoch_ms(open_time) % 3600000 = 0"
    )
    return DatabaseSource.of(connection)


def test_whole_queries_are_alike_live_in_research_and_as_statements(source: DatabaseSource, package: Make) -> None:
    """With a join to exginfo, to fundings, and a group over the market inside a window."""
    name = package({"Quoted.sql": QUOTED, "Settled.sql": SETTLED, "Breadth.sql": BREADTH})
    plan = Library(name).plan(["Quoted:5", "Settled", "Breadth:6"])
    assert [bound.lookback for bound in plan.sql] == [6, 1, 7]
    times = at(START_MS + STEP), at(START_MS + BARS * STEP)
    panel = compute(source.connection, plan.calls, None, *times, package=name)
    close = panel["close"].unstack("symbol")
    assert panel[plan.columns].notna().any().all()
    change = close / close.shift(5) - 1
    usdt = [symbol for symbol in close if symbol < "C"]
    away = change[usdt].sub(change[usdt].mean(axis=1), axis=0)
    np.testing.assert_allclose(panel["Quoted_5"].unstack("symbol")[usdt], away, rtol=1e-9, atol=1e-12)
    for place in (0, 40, 77, BARS - 1):
        open_ms = START_MS + place * STEP
        live = compute_plan(source, plan, open_ms, open_ms).frame.set_index("symbol")
        then = panel.xs(pd.Timestamp(at(open_ms + STEP)), level="candle_end_time")
        printed = [
            source.ask(statement(bound, FEED, source.interval, open_ms, open_ms)).to_pandas().set_index("symbol")
            for bound in plan.sql
        ]
        for column, told in zip(plan.columns, printed, strict=True):
            assert sorted(live.index) == sorted(then.index) == sorted(told.index)
            np.testing.assert_allclose(live[column], then[column][live.index], rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(told["value"][live.index], live[column], rtol=1e-9, atol=1e-12)


def test_a_query_that_doubles_rows_is_told(source: DatabaseSource, package: Make) -> None:
    """A join with several rows a symbol has no one value."""
    text = SETTLED.replace("ASOF LEFT JOIN", "JOIN")
    with pytest.raises(UsageError, match="several rows at one open_time"):
        compute(
            source.connection,
            ["Many"],
            None,
            at(START_MS + 90 * STEP),
            at(START_MS + 99 * STEP),
            package=package({"Many.sql": text}),
        )


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("SELECT symbol, open_time, x AS value FROM bars, read_csv('/etc/passwd') AS t(x)", "not READ_CSV"),
        ("SELECT symbol, open_time, x AS value FROM bars, '/etc/passwd' AS t(x)", "not "),
        ("SELECT symbol, open_time, (SELECT max(close) FROM bars) AS value FROM bars", "subquery over bars"),
        ("SELECT DISTINCT ON (symbol) symbol, open_time, close AS value FROM bars", "DISTINCT"),
        ("SELECT symbol, open_time FROM bars", "lacks value"),
        ("SELECT symbol, funding_time AS open_time, funding_rate AS value FROM funding_rates", "does not read bars"),
        ("SELECT symbol, open_time, clse AS value FROM bars", "DuckDB refuses it.*clse"),
        (
            "WITH RECURSIVE a AS (SELECT * FROM bars UNION ALL SELECT * FROM a)"
            " SELECT symbol, open_time, close AS value FROM a",
            "recursive",
        ),
    ],
)
def test_what_a_whole_query_may_not_do(package: Make, query: str, told: str) -> None:
    """Read files, or other bars than its own in a way that cannot be told."""
    with pytest.raises(UsageError, match=f"(?s){told}"):
        Library(package({"Own.sql": f"-- x\n{query}\n"})).plan(["Own"])
