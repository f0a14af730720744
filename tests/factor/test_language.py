"""A factor's file is read, its look-back found in it, and what cannot be is refused where it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bmacdb.errors import UsageError
from bmacdb.factors.bind import Bound, bind
from bmacdb.factors.call import parse_call
from bmacdb.factors.duck import check
from bmacdb.factors.library import Library, bundled, bundled_names
from bmacdb.factors.source import Factor, parse_factor

OTHERS = {
    "Change": "-- Change: of the close.\n-- params: n int >= 1 = 10\nclose / lag(close, $n) OVER bars - 1",
    "Mean": "-- params: n int >= 1 = 10\nclose - lag(close) OVER bars AS change,\navg(change) OVER last_n",
    "Rank": "-- params: factor factor\ncs_rank($factor)",
}


def find(name: str) -> Factor | None:
    return parse_factor(name, OTHERS[name]) if name in OTHERS else None


def bound(body: str, given: str = "T", *, params: str = "n int = 3") -> Bound:
    return bind(parse_factor("T", f"-- T: a test.\n-- params: {params}\n{body}"), parse_call(given), find)


@pytest.mark.parametrize(
    ("body", "lookback"),
    [
        ("close", 1),
        ("close / lag(close, $n) OVER bars - 1", 4),
        ("avg(close) OVER last_n", 3),
        ("avg(close) OVER last_20", 20),
        ("avg(close) OVER (bars ROWS BETWEEN $n * 2 PRECEDING AND 1 PRECEDING)", 7),
        ("close - lag(close) OVER bars AS change, sum(change) OVER last_n", 4),
        ("lag(close, 2) OVER bars AS a, lag(a, 3) OVER bars AS b, max(b) OVER last_4", 9),
        ("ts_rank(delta(close, $n), 2 * $n)", 9),
        ("ewm(close, 2 / ($n + 1), 10 * $n)", 30),
        ("wilder(close - lag(close) OVER bars, $n, 10 * $n)", 31),
        ("rank() OVER (market ORDER BY lag(close, 5) OVER bars)", 6),
        ("cs_rank(Change(7))", 8),
        ("avg(Mean($n)) OVER last_n", 6),
        ("greatest($n, 5) AS k, lag(close, greatest($n, 5)) OVER bars", 6),
        ("list_reduce(array_agg(close) OVER last_n, lambda a, x: a + x)", 3),
        ("SELECT symbol, open_time, max(close) OVER last_n AS value FROM bars", 3),
        (
            "WITH a AS (SELECT *, close - lag(close, $n) OVER bars AS d FROM bars),"
            " m AS (SELECT open_time, avg(d) AS mean FROM a GROUP BY open_time)"
            " SELECT symbol, open_time, avg(d - mean) OVER last_20 AS value FROM a JOIN m USING (open_time)",
            23,
        ),
        (
            "SELECT b.symbol, b.open_time, f.funding_rate AS value FROM bars b ASOF LEFT JOIN funding_rates f"
            " ON f.symbol = b.symbol AND f.funding_time <= b.open_time",
            1,
        ),
    ],
)
def test_the_look_back_is_found_in_the_tree(body: str, lookback: int) -> None:
    """Lags, frames, steps, helpers and calls of other factors add up; nothing is declared."""
    assert bound(body).lookback == lookback


@pytest.mark.parametrize(
    ("body", "place", "told"),
    [
        ("close +\n  lead(close) OVER bars", (4, 3), "reads the future"),
        ("lag(close, -1) OVER bars", (3, 1), "in the future"),
        ("lag(close, volume) OVER bars", (3, 1), "known beforehand"),
        ("1 + sum(close) OVER (bars ROWS BETWEEN 3 PRECEDING AND 2 FOLLOWING)", (3, 5), "FOLLOWING"),
        ("sum(close) OVER bars", (3, 1), "without an end"),
        ("row_number() OVER bars", (3, 1), "without an end"),
        ("sum(close) OVER (bars ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)", (3, 1), "UNBOUNDED"),
        ("sum(close) OVER (bars RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW)", (3, 1), "ROWS"),
        (
            "sum(close) OVER (PARTITION BY symbol ORDER BY open_time DESC ROWS 3 PRECEDING)",
            (3, 1),
            "ORDER BY open_time",
        ),
        ("sum(close) OVER (ORDER BY open_time)", (3, 1), "PARTITION BY"),
        ("avg(close) OVER last_x", (3, 1), "no window last_x"),
        ("close AS a,\na + clse", (4, 5), "Did you mean close"),
        ("ts_rnk(close, 3)", (3, 1), "Did you mean ts_rank"),
        ("ts_rank(close)", (3, 1), "ts_rank takes"),
        ("close + $m", (3, 9), "no parameter $m"),
        ("close +* 2", (3, 10), "'2'"),
        ("high, low", (3, 1), "needs a name"),
        ("(SELECT max(close) FROM bars)", (3, 13), "query within"),
        ("SELECT symbol, open_time, max(close) AS value FROM bars", (3, 31), "GROUP BY open_time"),
        ("SELECT symbol, open_time, close AS value FROM candles", (3, 47), "not candles"),
        ("SELECT symbol, open_time, close AS value FROM bars LIMIT 9", (3, 58), "LIMIT"),
        (
            "SELECT b.symbol, b.open_time, c.close AS value FROM bars b JOIN bars c ON c.open_time > b.open_time",
            (3, 65),
            "same open_time",
        ),
        (
            "SELECT symbol, open_time, sum(close) OVER last_5 AS value FROM (SELECT * FROM bars WHERE volume > 0)",
            (3, 27),
            "left out before",
        ),
    ],
)
def test_what_cannot_be_a_factor_is_refused_where_it_stands(body: str, place: tuple[int, int], told: str) -> None:
    """The error names the line and the column in the file, and the reason."""
    with pytest.raises(UsageError) as error:
        bound(body)
    assert f"line {place[0]}, column {place[1]}:" in str(error.value)
    assert told in str(error.value)


def test_a_factor_that_calls_itself_is_refused() -> None:
    """Two files that call each other are told as a ring."""
    ring = {"A": "-- a\nB() + 1", "B": "-- b\nA() + 1"}
    with pytest.raises(UsageError, match="needs itself: A -> B -> A"):
        bind(parse_factor("A", ring["A"]), parse_call("A"), lambda n: parse_factor(n, ring[n]) if n in ring else None)


def test_what_is_wrong_with_a_called_factor_is_told_in_its_own_file() -> None:
    """By its name, line and column, and not by those of the caller."""
    files = {
        "Outer": "-- x\n1 + 2 * Deep(3)",
        "Deep": "-- x\n-- params: n int = 3\nclose +\n  lead(close, $n) OVER bars",
    }
    with pytest.raises(UsageError, match=r"factor Deep, line 4, column 3: lead\(\) reads the future"):
        bind(
            parse_factor("Outer", files["Outer"]),
            parse_call("Outer"),
            lambda name: parse_factor(name, files[name]) if name in files else None,
        )


def test_steps_of_a_called_factor_come_first() -> None:
    """They are named after it and its parameter, so that two calls do not meet."""
    found = bind(parse_factor("Rank", OTHERS["Rank"]), parse_call("Rank:Mean:5"), find)
    assert [name for name, _ in found.steps] == ["mean_5__change", "mean_5__value", "mean_5", "value"]
    assert found.across
    assert found.columns == {"close"}


DOCUMENTED = re.findall(
    r"```sql\n(--.*?)```", (Path(__file__).parents[2] / "docs" / "factors.md").read_text("utf-8"), re.DOTALL
)


@pytest.mark.parametrize("text", DOCUMENTED)
def test_the_documented_factors_are_factors(text: str) -> None:
    """Those of docs/factors.md, as DuckDB takes them."""
    factor = parse_factor("Own", text)
    bound = bind(factor, parse_call("Own"), find)
    check(bound)
    assert bound.lookback > 1


@pytest.mark.parametrize("name", sorted(bundled_names()))
def test_the_library_is_read_and_taken_by_duckdb(name: str) -> None:
    """Each file says what it is, where it comes from and when it is null, and DuckDB computes it on no candle."""
    factor = bundled(name)
    assert factor.description
    assert factor.formula
    assert factor.source
    assert factor.null
    given = "PctChg:5" if any(parameter.kind == "factor" for parameter in factor.parameters) else None
    check(bind(factor, parse_call((name, given)), Library("there_is_no_package_of_this_name").in_sql))


def test_ignore_nulls_within_a_window_is_refused() -> None:
    """The parser would give the IGNORE NULLS of the inner window to the outer one, without a word."""
    text = "-- T: x\navg(first_value(close IGNORE NULLS) OVER last_3) OVER last_2"
    with pytest.raises(UsageError, match="line 2, column 1: IGNORE NULLS within another window"):
        bind(parse_factor("T", text), parse_call("T"), lambda name: None)
