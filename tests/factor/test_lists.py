"""SQL factors with more of DuckDB than the grid understands: DuckDB computes them, and nothing else is different."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bmacdb.errors import UsageError
from bmacdb.factor import Library
from bmacdb.factor.call import Call
from bmacdb.factor.grid import Grid
from bmacdb.factor.lists import on_lists
from bmacdb.factor.registry import choose
from bmacdb.factor.statement import Range
from bmacdb.factor.template import CANDLE_COLUMNS, FUNDING_COLUMNS, OPEN_TIME, Bound, parse_template
from bmacdb.kit import compute
from bmacdb.kit.engine import compute_plan
from bmacdb.kit.gridded import gridded
from bmacdb.kit.source import Source
from tests.factor.support import START_MS, Make, at, database, rough_market

STEP = 300_000
BARS = 260
HEAD = "-- Own.\n-- params: n int >= 1 = 12\n-- lookback: $n\n-- missing: {}\n"
MEDIAN = HEAD.format("position") + "list_median(close[pos - $n + 1 : pos])\n"
WHOLE = HEAD.format("null") + "list_median(close[pos - $n + 1 : pos])\n"
CHANGES = (
    "-- Kurtosis of changes.\n-- params: n int >= 1 = 12\n-- lookback: $n + 1\n-- missing: position\n"
    "-- series change: close[t] / close[t - 1] - 1\n-- series wild: abs(change[t]) % 0.003\n"
    "-- let ordered: list_sort(wild[pos - $n + 1 : pos])\n"
    "list_aggregate(ordered, 'kurtosis') + ordered[1]\n"
)
HOURS = (
    "-- Close against the median of the same hour's closes.\n-- params: n int >= 1 = 12\n-- lookback: $n\n"
    "-- missing: position\n-- series hour: hour(open_time[t])\n"
    "-- let alike: list_filter(list_zip(close, hour), lambda x: x[2] = hour[pos])\n"
    "close[pos] / list_median(list_transform(alike, lambda x: x[1])) - 1\n"
)
SETTLED = HEAD.format("position") + "round(list_aggregate(funding_rate[pos - $n + 1 : pos], 'median'), 7)\n"
OWN = {"Median.sql": MEDIAN, "Whole.sql": WHOLE, "Changes.sql": CHANGES, "Hours.sql": HOURS, "Settled.sql": SETTLED}
FACTORS = [(name.removesuffix(".sql"), 12) for name in OWN]


@pytest.fixture(scope="module")
def source() -> Source:
    connection = database(rough_market(BARS))
    connection.execute(
        "INSERT INTO usdt_perp_5m.funding_rates SELECT symbol, open_time + INTERVAL '7 milliseconds', 'Regular', "
        "(open - 50) / 1000, NULL FROM usdt_perp_5m.candles WHERE epoch_ms(open_time) % 3600000 = 0"
    )
    return Source.of(connection)


def _panel(source: Source, package: str, factors: list[object], first: int = 0) -> pd.DataFrame:
    times = at(START_MS + (first + 1) * STEP), at(START_MS + BARS * STEP)
    return compute(source.connection, factors, None, *times, package=package)


def _bound(text: str) -> Bound:
    return parse_template("Own", f"-- Own.\n-- lookback: 30\n-- missing: position\n{text}\n").bind(Call("Own"))


def test_live_and_research_are_identical(source: Source, package: Make) -> None:
    """To the last bit, alone or in any company: beside factors of the grid, with longer look-backs, and across."""
    name = package(OWN)
    factors = [*FACTORS, "Ma:12", "CsRank:Median:12", "CsZscore:Changes:12", ("Median", 40), "Volatility:60"]
    plan = Library(name).plan(factors)
    panel = _panel(source, name, factors)
    assert panel[plan.columns].notna().any().all(), "every factor has a value somewhere"
    alone = _panel(source, name, [*FACTORS])
    pd.testing.assert_frame_equal(alone, panel[alone.columns], check_exact=True)
    for place in (0, 13, 95, 130, 199, 233, BARS - 1):
        open_ms = START_MS + place * STEP
        live = compute_plan(source, plan, open_ms, open_ms).frame.set_index("symbol")
        then = panel.xs(pd.Timestamp(at(open_ms + STEP)), level="candle_end_time")
        pd.testing.assert_frame_equal(
            live[plan.columns].sort_index(), then[plan.columns].sort_index(), check_exact=True, check_names=False
        )


def _hours(close: pd.Series) -> float:
    alike = close[close.index.hour == close.index[-1].hour]
    return float(close.iloc[-1] / alike.median() - 1)


PANDAS: dict[str, Callable[[pd.Series], pd.Series]] = {
    "Median_12": lambda close: close.rolling(12, min_periods=1).median(),
    "Whole_12": lambda close: close.rolling(12).median(),
    "Changes_12": lambda close: (
        ((close / close.shift(1) - 1).abs() % 0.003).rolling(12, min_periods=4).kurt()
        + ((close / close.shift(1) - 1).abs() % 0.003).rolling(12, min_periods=1).min()
    ),
    "Hours_12": lambda close: close.rolling(12, min_periods=1).apply(_hours),
}


@pytest.mark.parametrize("column", PANDAS)
def test_values_are_those_of_pandas(source: Source, package: Make, column: str) -> None:
    """Holes, late listings and all: by bars of the grid, of what is there, or null where anything is missing."""
    panel = _panel(source, package(OWN), [*FACTORS])
    opens = panel.set_index("candle_begin_time", append=True)
    for symbol, frame in opens.groupby("symbol"):
        rows = frame.reset_index().set_index("candle_begin_time")
        grid = pd.date_range(pd.Timestamp(at(START_MS)), periods=BARS, freq="5min")
        wanted = PANDAS[column](rows["close"].reindex(grid))[rows.index]
        np.testing.assert_allclose(rows[column], wanted, rtol=1e-7, atol=1e-9, err_msg=str(symbol))


LIBRARY = [name for name, template in Library().bundled().items() if not template.cross]


def test_both_ways_agree(source: Source) -> None:
    """Factors of the library, computed by DuckDB instead: the same nulls, and values alike."""
    span = Range("usdt_perp_5m", source.interval, START_MS, START_MS + (BARS - 1) * STEP)
    bounds = [Library().bundled()[name].bind(Call(name, "3,6,4" if name == "Macd" else 6)) for name in LIBRARY]
    one = gridded(source, bounds, span)
    other = gridded(source, [replace(bound, listed=True) for bound in bounds], span)
    pd.testing.assert_frame_equal(one.frame, other.frame, rtol=1e-9, atol=1e-9)
    assert one.held == other.held


def test_the_size_of_the_pieces_changes_no_bit(source: Source, package: Make) -> None:
    """Bars read some at a time, computed some symbols at a time, and asked of DuckDB one at a time."""
    plan = Library(package(OWN)).plan(FACTORS)
    span = Range("usdt_perp_5m", source.interval, START_MS + 200 * STEP, START_MS + (BARS - 1) * STEP)
    whole = gridded(source, plan.sql, span)
    for read, computed in ((300, 1), (1_000_000, 300)):
        parts = gridded(source, plan.sql, span, read_at_once=read, computed_at_once=computed)
        pd.testing.assert_frame_equal(whole.frame, parts.frame, check_exact=True)
    draw = np.random.default_rng(5)
    grid = Grid({name: 50 + draw.normal(size=(40, 3)) for name in (*CANDLE_COLUMNS, *FUNDING_COLUMNS, OPEN_TIME)})
    for bound in plan.sql:
        np.testing.assert_array_equal(on_lists(bound, grid, 12), on_lists(bound, grid, 12, at_once=1))


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        ("list_avg(close[pos - 9 : pos])", False),
        ("list_avg(list_filter(close[pos - 9 : pos], lambda x: x > 50))", False),
        ("list_median(close[pos - 9 : pos])", True),
        ("close[pos] -- the newest", True),
        ("CASE WHEN close[pos] BETWEEN 49 AND 51 THEN 1 END", True),
        ("strftime(open_time[pos], '%H%M')::INTEGER", True),
        ("-- series calm: list_avg(close[t - 3 : t])\ncalm[pos]", True),
        ("-- series other: close[t] % 2\nother[pos]", True),
        ("-- let ordered: list_sort(close)\nordered[1]", True),
    ],
)
def test_the_grid_is_the_way_where_it_can_be(text: str, listed: bool) -> None:
    """By the expression alone."""
    assert choose(_bound(text)).listed is listed


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("list_agv(close[pos - 3 : pos])", 'list_agv does not exist! Did you mean "list_avg"'),
        ("closed[pos]", '"closed" not found'),
        ("close[pos", "syntax error"),
        ("-- series bad: nothing[t]\nbad[pos]", '"nothing" not found'),
        ("-- let bad: list_agv(close)\nbad + 1", "list_agv does not exist"),
        ("close", "no number but DOUBLE"),
        ("'text'", "no number but VARCHAR"),
        ("columns(*)", "no number but"),
        ("close[pos].__class__", "DuckDB refuses"),
        ("read_text('/etc/passwd')", "DuckDB refuses"),
        ("(SELECT count(*) FROM windows)", "subquery"),
        ("max(close[pos])", "aggregates are not allowed"),
        ("-- let total: sum(close[pos]) OVER ()\ntotal + 1", "DuckDB refuses"),
        ("random()", "volatile"),
        ("list_avg(close[pos - 200 : pos])", "reads 201 candles"),
        ("list_avg(close[pos - abs(200) : pos])", "reaches beyond the bars"),
    ],
)
def test_what_cannot_be_computed_is_refused_at_once(text: str, says: str) -> None:
    """With the factor's name and DuckDB's reason, before anything is asked for."""
    with pytest.raises(UsageError, match=r"(?s)factor Own: ") as caught:
        choose(_bound(text))
    assert says in str(caught.value)
    assert "LINE" not in str(caught.value)


def test_a_mistake_is_named_in_a_request(source: Source, package: Make) -> None:
    """Among others, and with its parameter."""
    name = package({**OWN, "Wrong.sql": HEAD.format("null") + "list_medium(close[pos - $n + 1 : pos])\n"})
    with pytest.raises(UsageError, match=r"factor Wrong:12: DuckDB refuses its expression: .*list_medium"):
        _panel(source, name, ["Median:12", "Wrong:12"])


def test_a_value_that_cannot_be_computed_is_null(source: Source, package: Make) -> None:
    """It alone: the root of a negative number is an error in DuckDB, and no reason to lose the market."""
    text = HEAD.format("position") + "-- series root: sqrt(close[t] - 50)\nsqrt(close[pos] - 50) + 0 * (pos % 2)\n"
    root = HEAD.format("position") + "-- series root: sqrt(close[t] - 50) % 9\nlist_avg(root)\n"
    panel = _panel(source, package({"Root.sql": text, "Roots.sql": root}), ["Root:12", "Roots:12"], 30)
    away = panel["close"] - 50
    np.testing.assert_allclose(panel["Root_12"], np.sqrt(away.where(away >= 0)))
    assert 0 < panel["Root_12"].count() < len(panel)
    assert panel["Root_12"].count() < panel["Roots_12"].count(), "the others of the window count"


def test_a_short_history_gives_nulls_and_one_warning(
    source: Source, package: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """As of any factor."""
    with caplog.at_level(logging.WARNING, "bmacdb.kit"):
        panel = _panel(source, package(OWN), ["Median:400", "Whole:400"], BARS - 1)
    assert panel["Whole_400"].isna().all()
    assert panel["Median_400"].notna().all(), "a median by position is of what there is"
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["factor Whole"]
    assert f"looks back 400 candles, and the record holds {BARS}" in caplog.text


def test_the_documented_factors_can_be_computed() -> None:
    """Those of docs/factors.md: the first on the grid, the second by DuckDB."""
    text = (Path(__file__).parents[2] / "docs" / "factors.md").read_text(encoding="utf-8")
    templates = [parse_template("Own", block) for block in re.findall(r"```sql\n(.*?)```", text, re.DOTALL)]
    assert [choose(template.bind(Call("Own", 24))).listed for template in templates] == [False, True]
