"""Parameters reach DuckDB as values, whatever is in them."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmacdb.errors import UsageError
from bmacdb.model import Source
from bmacdb.store.literals import bind, literal

plain = (
    st.none()
    | st.booleans()
    | st.integers(-(2**126), 2**126)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"))
    | st.binary()
    | st.dates()
    | st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))
    | st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**20), max_value=10**20)
)


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    found = duckdb.connect()
    found.execute("SET TimeZone = 'UTC'")
    return found


@given(value=plain)
def test_a_literal_says_what_the_value_is(connection: duckdb.DuckDBPyConnection, value: object) -> None:
    """Any value comes back from DuckDB as it was, and nothing else happens."""
    row = connection.execute(f"SELECT {literal(value)}").fetchone()
    assert row is not None
    assert row == (value,)


@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\0")), number=st.integers(0, 9))
def test_a_text_cannot_leave_its_quotes(connection: duckdb.DuckDBPyConnection, text: str, number: int) -> None:
    """A text that looks like SQL, comment or placeholder stays a text, and the values behind it stay in place."""
    query = 'SELECT ?, \'?\', "a?", $$ ? $$ /* ? /* ? */ */, ? -- ?\nFROM (SELECT 1 AS "a?")'
    assert connection.execute(bind(query, [text, number])).fetchone() == (text, "?", 1, " ? ", number)


def test_values_of_every_kind(connection: duckdb.DuckDBPyConnection) -> None:
    """nan, infinities, enums, lists, dicts, zones, and the scalars of numpy and pandas have literals."""

    def back(value: object) -> object:
        row = connection.execute(f"SELECT {literal(value)}").fetchone()
        assert row is not None
        return row[0]

    assert math.isnan(float(str(back(math.nan))))
    assert back(-math.inf) == -math.inf
    assert back(Source.WS) == "ws"
    assert back(["a", "it's"]) == ["a", "it's"]
    assert back((1, 2)) == [1, 2]
    assert back({"a": 1, "b'": "x"}) == {"a": 1, "b'": "x"}
    assert back(np.float64(0.1)) == 0.1
    assert back(np.int64(7)) == 7
    assert back(pd.Timestamp("2024-08-03 12:50", tz="Asia/Shanghai")) == datetime(2024, 8, 3, 4, 50, tzinfo=UTC)
    assert back(pd.NaT) is None
    assert back(datetime(2024, 8, 3, 8, tzinfo=timezone(timedelta(hours=8)))) == datetime(2024, 8, 3, tzinfo=UTC)
    assert back(datetime(2024, 8, 3)) == datetime(2024, 8, 3, tzinfo=UTC)
    assert back(timedelta(minutes=5)) == timedelta(minutes=5)
    assert back(date(2024, 8, 3)) == date(2024, 8, 3)
    assert back(Decimal("0.10")) == Decimal("0.10")


@pytest.mark.parametrize("value", [object(), 2**127, "a\0b", "\ud800", Decimal("1e40"), b"a".join])
def test_what_has_no_literal_is_refused(value: object) -> None:
    """A value that SQL cannot carry is an error that says so, not something near it."""
    with pytest.raises(UsageError):
        literal(value)


def test_placeholders_by_name_and_number(connection: duckdb.DuckDBPyConnection) -> None:
    """$name, $1 and ? each find their value."""
    assert connection.execute(bind("SELECT $b, $a, $b", {"a": 1, "b": "x"})).fetchone() == ("x", 1, "x")
    assert connection.execute(bind("SELECT $2, $1", [1, 2])).fetchone() == (2, 1)
    assert connection.execute(bind("SELECT ?", (5,))).fetchone() == (5,)
    assert bind("SELECT ?", None) == "SELECT ?"


@pytest.mark.parametrize(
    ("query", "params"),
    [
        ("SELECT ?", []),
        ("SELECT ?", [1, 2]),
        ("SELECT 1", [1]),
        ("SELECT $a", {"b": 1}),
        ("SELECT $a", {"a": 1, "b": 1}),
        ("SELECT $a", [1]),
        ("SELECT ?", {"a": 1}),
        ("SELECT $0", [1]),
        ("SELECT ?", "x"),
    ],
)
def test_placeholders_and_values_must_agree(query: str, params: object) -> None:
    """A placeholder without a value, and a value without a placeholder, are mistakes."""
    with pytest.raises(UsageError):
        bind(query, params)  # type: ignore[arg-type]
