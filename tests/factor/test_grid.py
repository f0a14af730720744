"""What SQL factors are computed with: windows of a grid, and expressions that mean what they mean in DuckDB."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from bmacdb.factor import Library
from bmacdb.factor.call import Call
from bmacdb.factor.evaluate import FUNCTIONS, on_grid, understood
from bmacdb.factor.grid import AGGREGATES, Grid
from bmacdb.factor.statement import Range
from bmacdb.factor.template import CANDLE_COLUMNS, FUNDING_COLUMNS, Bound, parse_template
from bmacdb.kit.gridded import gridded
from bmacdb.kit.source import Source
from tests.factor.support import START_MS, database, rough_market

BARS = 70
IN_NUMPY = {
    "list_count": lambda values: len(values),
    "list_sum": np.sum,
    "list_avg": np.mean,
    "list_min": np.min,
    "list_max": np.max,
    "list_var_pop": np.var,
    "list_stddev_pop": np.std,
    "list_var_samp": lambda values: np.var(values, ddof=1) if len(values) > 1 else np.nan,
    "list_stddev_samp": lambda values: np.std(values, ddof=1) if len(values) > 1 else np.nan,
}


def _columns(holes: float) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(5)
    columns = {name: 50 + draw.normal(size=(BARS, 3)) for name in (*CANDLE_COLUMNS, *FUNDING_COLUMNS)}
    missing = draw.random((BARS, 3)) < holes
    return {name: np.where(missing, np.nan, column) for name, column in columns.items()}


def _bound(text: str) -> Bound:
    return parse_template("Own", f"-- Own.\n-- lookback: 30\n-- missing: position\n{text}\n").bind(Call("Own"))


@pytest.mark.parametrize("name", AGGREGATES)
@pytest.mark.parametrize("holes", [0.0, 0.2, 0.9])
def test_a_window_is_aggregated_of_what_is_there(name: str, holes: float) -> None:
    """Windows of every length, however they are put together: what NumPy makes of the elements that are there."""
    columns = _columns(holes)
    grid = Grid(columns)
    for length in range(1, 31):
        with np.errstate(invalid="ignore"):
            found = np.broadcast_to(grid.window(name, "close", length, 1, 35), (BARS - 35, 3))
        for bar in range(35, BARS):
            for symbol in range(3):
                window = columns["close"][bar - length : bar, symbol]
                window = window[~np.isnan(window)]
                wanted = IN_NUMPY[name](window) if len(window) or name == "list_count" else np.nan
                np.testing.assert_allclose(found[bar - 35, symbol], wanted, rtol=1e-9, atol=1e-12)


def test_equal_elements_have_no_deviation() -> None:
    """Exactly none, whatever the number and its count: factors divide by it, and compare it."""
    grid = Grid({"close": np.full((40, 1), 0.1), "holed": np.where(np.arange(40) % 3, 0.1, np.nan)[:, None]})
    for length in range(2, 31):
        assert (np.asarray(grid.window("list_stddev_samp", "close", length - 1, 0, 30)) == 0).all()
        assert (np.asarray(grid.window("list_stddev_pop", "holed", length - 1, 0, 30)) == 0).all()


EXPRESSIONS = [
    "close[pos] / close[pos - 3] - 1",
    "CASE WHEN open[pos] > close[pos] AND high[pos] <> low[pos] THEN 1 WHEN low[pos] IS NOT NULL THEN 2 ELSE 3 END",
    "CASE WHEN open[pos] > close[pos] OR high[pos] = low[pos] THEN sqrt(volume[pos]) END",
    "greatest(open[pos], close[pos - 7], low[pos]) - least(open[pos], low[pos - 2])",
    "ln(abs(-close[pos])) + exp(sign(open[pos] - 50)) + floor(high[pos]) * ceil(low[pos])",
    "list_sum(list_transform(close[pos - 9 : pos], lambda x, i: x * i)) / 10",
    "list_avg(list_transform(list_zip(close[pos - 9 : pos], open[pos - 9 : pos]), lambda z: z[1] * z[2]))",
    "list_stddev_samp(list_filter(close[pos - 20 : pos], lambda x: x > 50))",
    "list_filter(close[pos - 9 : pos], lambda x: x > 50)[-1]",
    "list_count(list_filter(close[pos - 9 : pos], lambda x: x > 51))",
    "list_reduce(nullif(list_filter(close[pos - 9 : pos], lambda x: x > 50), []), lambda a, x: a / 2 + x)",
    "list_reduce(list_concat([1.0::DOUBLE], close[pos - 9 : pos]), lambda a, x: a / 2 + x)",
    "list_position(list_reverse(close[pos - 9 : pos]), list_max(close[pos - 9 : pos]))",
    "list_max(list_transform(range(1, 6), lambda i: list_min(close[pos - 9 : pos][i : i + 4])))",
    "close[pos - 9 : pos][2] - close[pos - 9 : pos][-1]",
    "list_reduce(list_transform(low[pos - 9 : pos], lambda x: {'a': x, 'b': 0.0::DOUBLE}),"
    " lambda s, x: {'a': x.a, 'b': s.b + x.a - s.a}).b",
]
WITHOUT_SERIES = [
    (name, template) for name, template in Library().bundled().items() if not template.cross and not template.series
]


def _in_duckdb(bound: Bound, columns: dict[str, np.ndarray], first: int) -> np.ndarray:
    text = bound.expression
    for name, let in reversed(bound.lets):
        text = f"list_transform([{let}], lambda {name}: {text})[1]"
    found = np.full((BARS - first, 3), np.nan)
    for symbol in range(3):
        lists = {
            name: [None if np.isnan(value) else float(value) for value in column[:, symbol]]
            for name, column in columns.items()
        }
        given = ", ".join(f"?::DOUBLE[] AS {name}" for name in lists)
        rows = duckdb.execute(
            f"SELECT ({text})::DOUBLE FROM (SELECT {given}), range({first + 1}, {BARS + 1}) AS bars(pos) ORDER BY pos",
            list(lists.values()),
        ).fetchall()
        found[:, symbol] = [np.nan if value is None or not np.isfinite(value) else value for (value,) in rows]
    return found


@pytest.mark.parametrize("text", EXPRESSIONS)
@pytest.mark.parametrize("holes", [0.0, 0.15])
def test_an_expression_means_what_it_means_in_duckdb(text: str, holes: float) -> None:
    """The same nulls, and values alike to the rounding of another order of addition."""
    bound, columns = _bound(text), _columns(holes)
    assert understood(bound)
    np.testing.assert_allclose(
        on_grid(bound, Grid(columns), 35), _in_duckdb(bound, columns, 35), rtol=1e-11, atol=1e-13
    )


@pytest.mark.parametrize(("name", "template"), WITHOUT_SERIES)
def test_bundled_expressions_mean_what_they_mean_in_duckdb(name: str, template: object) -> None:
    """So that a factor's file says in SQL what is computed."""
    bound = Library().bundled()[name].bind(Call(name, "2,5,3" if name == "Macd" else 6 if name != "Kdj" else 5))
    columns = _columns(0.0)
    first = min(bound.lookback - 1, BARS - 5)
    np.testing.assert_allclose(
        on_grid(bound, Grid(columns), first), _in_duckdb(bound, columns, first), rtol=1e-9, atol=1e-11
    )


def test_the_size_of_the_pieces_changes_no_bit() -> None:
    """Symbols read one at a time, or in odd groups, or all at once; computed alone or together."""
    source = Source.of(database(rough_market(120)))
    bounds = [Library().bundled()[name].bind(Call(name, 6)) for name in ("Bias", "Volatility", "TrdNumMeanV1", "Cci")]
    span = Range("usdt_perp_5m", source.interval, START_MS + 300_000 * 20, START_MS + 300_000 * 119)
    whole = gridded(source, bounds, span)
    for read, computed in ((1, 1), (300, 1), (300, 200), (500, 10_000), (1_000_000, 300)):
        parts = gridded(source, bounds, span, read_at_once=read, computed_at_once=computed)
        pd.testing.assert_frame_equal(whole.frame, parts.frame, check_exact=True)
        assert whole.held == parts.held


def test_the_functions_are_documented() -> None:
    """Every function stands in docs/factors.md."""
    text = (Path(__file__).parents[2] / "docs" / "factors.md").read_text(encoding="utf-8")
    assert set(FUNCTIONS) <= set(re.findall(r"`(\w+)(?:`|\()", text))
