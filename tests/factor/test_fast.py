"""The fast way means what DuckDB means, and gives live, to the last bit, what it gives over a range."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from bmacdb.factors.bind import Bound, bind
from bmacdb.factors.call import Call
from bmacdb.factors.columns import CANDLE_COLUMNS
from bmacdb.factors.compile import compile_factors
from bmacdb.factors.duck import on_duckdb
from bmacdb.factors.fast import run_program
from bmacdb.factors.grid import Array, Grid
from bmacdb.factors.library import Library
from bmacdb.factors.source import parse_factor
from bmacdb.kit.market import describe

EXAMPLES = int(os.environ.get("BMACDB_EXPRESSIONS", "60"))
"""Expressions that are tried: thousands of them find what sixty do not."""

SHOWN = 10
"""Bars of which the values are compared."""

LENGTHS = st.sampled_from([1, 2, 3, 4, 5, 7])
COLUMNS = st.sampled_from(["open", "high", "low", "close", "volume", "quote_volume", "trade_num"])
LITERALS = st.sampled_from(["0", "1", "2", "0.5", "50", "-1", "NULL::DOUBLE"])
BARE = ("sum", "avg", "min", "max", "count", "stddev_samp", "stddev_pop", "var_samp", "var_pop", "product")
PAIRS = ("corr", "covar_samp", "covar_pop", "regr_slope")
ACROSS = ("sum", "avg", "min", "max", "count", "stddev_samp", "var_pop")


def numbers(depth: int) -> st.SearchStrategy[str]:
    """Expressions that are numbers."""
    if depth == 0:
        return st.one_of(COLUMNS, COLUMNS, LITERALS)
    inner = numbers(depth - 1)
    exact = rounded(inner)
    operators = st.sampled_from(["+", "-", "*", "/", "/"])
    functions = st.sampled_from(["abs", "-", "exp"])
    stepped = st.sampled_from(["sign", "floor", "ceil"])
    curved = st.sampled_from(["ln", "sqrt", "log2", "log10"])
    several = st.sampled_from(["greatest", "least", "coalesce"])
    helpers = st.sampled_from(["delay", "delta", "decay_linear", "mean_deviation"])
    places = st.sampled_from(["ts_rank", "ts_argmax", "ts_argmin"])
    market = st.sampled_from(["cs_scale", "cs_zscore"])
    ranks = st.sampled_from(["rank", "percent_rank", "dense_rank"])
    order = st.sampled_from(["", " DESC"])
    shapes = st.sampled_from(["skewness", "kurtosis"])
    valued = st.sampled_from(["first_value", "last_value"])
    return st.one_of(
        inner,
        st.builds("({} {} {})".format, inner, operators, inner),
        st.builds("{}({})".format, functions, inner),
        st.builds("{}({})".format, stepped, exact),
        st.builds("nullif({}, {})".format, exact, exact),
        st.builds("{}({} + volume)".format, curved, inner),
        st.builds("{}({}, {})".format, several, inner, inner),
        st.builds("round({}, {})".format, inner, st.integers(0, 3)),
        st.builds("({}) ** {}".format, inner, st.sampled_from(["2", "0.5", "3", "-1", "0"])),
        st.builds("CASE WHEN {} THEN {} ELSE {} END".format, truths(depth - 1), inner, inner),
        st.builds("CASE WHEN {} THEN {} END".format, truths(depth - 1), inner),
        st.builds("({})::DOUBLE".format, truths(depth - 1)),
        st.builds("{}({}) OVER last_{}".format, st.sampled_from(BARE), inner, LENGTHS),
        # Rounded, as what should be 0 is made of rounding. Of changes: DuckDB adds third and fourth powers, which of
        # prices leaves it six digits.
        st.builds("round({}(delta({}, 1)) OVER last_{}, 9)".format, shapes, inner, LENGTHS),
        st.builds("round({}({}, {}) OVER last_{}, 9)".format, st.sampled_from(PAIRS), inner, inner, LENGTHS),
        st.builds("sum({}) FILTER (WHERE {}) OVER last_{}".format, inner, truths(depth - 1), LENGTHS),
        st.builds("count_if({}) OVER last_{}".format, truths(depth - 1), LENGTHS),
        st.builds("{}({}) OVER last_{}".format, valued, inner, LENGTHS),
        st.builds("avg({}) OVER (bars ROWS BETWEEN {} PRECEDING AND 1 PRECEDING)".format, inner, LENGTHS),
        st.builds("{}({}, {})".format, helpers, inner, LENGTHS),
        st.builds("{}({}, {})".format, places, exact, LENGTHS),
        st.builds("cs_rank({})".format, exact),
        st.builds("ewm({}, {}, {})".format, inner, st.sampled_from(["0.5", "0.1", "2.0 / 3", "1"]), LENGTHS),
        st.builds("wilder({}, 2, {} + 2)".format, inner, LENGTHS),
        st.builds("{}({})".format, market, inner),
        st.builds("{}({}) OVER market".format, st.sampled_from(ACROSS), inner),
        st.builds("{}() OVER (market ORDER BY {}{})".format, ranks, exact, order),
    )


def rounded(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """For what is compared: numbers that are equal but for their last bits are equal then, on every way."""
    return st.builds("round({}, 9)".format, inner)


def truths(depth: int) -> st.SearchStrategy[str]:
    """Expressions that are true, false or null."""
    inner = rounded(numbers(max(depth - 1, 0)))
    simple = st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["<", "<=", ">", ">=", "=", "<>"]), inner),
        st.builds("({} IS NULL)".format, inner),
        st.builds("({} IS NOT NULL)".format, inner),
        st.builds("isnan({})".format, inner),
        st.builds("isfinite({})".format, inner),
        st.builds("({} BETWEEN 1 AND {})".format, inner, inner),
        st.builds("({} IN (0, 1, {}))".format, inner, inner),
    )
    if depth <= 0:
        return simple
    joined = st.builds("({} {} {})".format, truths(depth - 1), st.sampled_from(["AND", "OR"]), truths(depth - 1))
    return st.one_of(simple, joined, st.builds("(NOT {})".format, truths(depth - 1)))


def market(seed: int, bars: int, symbols: int, scale: float = 1.0) -> Grid:
    """Candles with holes, without volume, of a late listing, with prices that stand still.

    Prices are multiples of a 64th and volumes of a quarter, so that their sums and differences are exact.
    """
    draw = np.random.default_rng(seed)
    shape = bars, symbols
    close = 50 + np.cumsum(draw.integers(-20, 21, shape) * (draw.random(shape) < 0.7), axis=0) / 64
    opened = close + draw.integers(-10, 11, shape) * (draw.random(shape) < 0.6) / 64
    high = np.maximum(opened, close) + draw.integers(0, 3, shape) / 64
    low = np.minimum(opened, close) - draw.integers(0, 3, shape) / 64
    volume = draw.integers(1, 9, shape) / 4 * (draw.random(shape) < 0.8)
    trades = np.ceil(volume)
    values = (opened, high, low, close, volume, volume * close, trades, volume / 2, volume * close / 2)
    there = draw.random(shape) > 0.1
    there[: bars - SHOWN // 2, 0] = False
    columns = {name: np.where(there, value * scale, np.nan) for name, value in zip(CANDLE_COLUMNS, values, strict=True)}
    names = tuple(f"SYM{number:02d}USDT" for number in range(symbols))
    return Grid(names, np.arange(bars, dtype=np.int64) * 300_000, columns, there)


def fast(tried: Bound, columns: dict[str, Array], first: int, **cut: int) -> Array:
    """The factor's values on the fast way, which must know it."""
    program, beyond = compile_factors([tried])
    assert not beyond, beyond
    bars, symbols = columns["close"].shape
    values = np.full((bars - first, symbols), np.inf)
    run_program(program, columns, first, [values], **cut)
    return values


def bound(text: str) -> Bound:
    return bind(parse_factor("Tried", f"-- Tried: made up\n{text}"), Call("Tried", None), lambda name: None)


def agree(here: Array, there: Array, within: float = 1e-9) -> Array:
    """Where both are null, or the numbers are close; 1e-12 is a 0 that is made of rounding."""
    close = np.isclose(here, there, within, 1e-12)
    return np.where(np.isnan(here) | np.isnan(there), np.isnan(here) & np.isnan(there), close)


@settings(max_examples=EXAMPLES, deadline=None, derandomize="BMACDB_EXPRESSIONS" not in os.environ)
@given(text=numbers(3), seed=st.integers(0, 3))
def test_the_ways_agree(text: str, seed: int) -> None:
    """A made-up expression is null and not null where DuckDB says so, and else within 1e-9 of it.

    A difference counts where DuckDB's own value stands still when all candles are larger by a few parts in 1e14: where
    it does not, it is made of rounding, as 1 / (x - x) is that should be infinite.
    """
    tried = bound(text)
    grid = market(seed, tried.lookback + SHOWN - 1, 6)
    first = tried.lookback - 1
    here = fast(tried, grid.columns, first)
    (there,) = on_duckdb([tried], grid, first, {})
    wrong = grid.there[first:] & ~agree(here, there)
    for step in (1, 3, 5, 11) if wrong.any() else ():
        event("rounding")
        (moved,) = on_duckdb([tried], market(seed, len(grid.opens), 6, 1 + step * 2**-46), first, {})
        wrong &= agree(there, moved, 1e-11)
    assert not wrong.any(), (text, here[wrong], there[wrong])


@pytest.mark.parametrize(
    "text", ["last_value(close IGNORE NULLS) OVER last_4", "first_value(close / volume IGNORE NULLS) OVER last_3"]
)
def test_the_newest_that_is_there(text: str) -> None:
    """IGNORE NULLS passes over missing candles, as DuckDB does. (Within another window the parser misplaces it.)"""
    tried, grid = bound(text), market(1, 40, 6)
    here = fast(tried, grid.columns, 10)
    assert agree(here, on_duckdb([tried], grid, 10, {})[0])[grid.there[10:]].all()


@settings(max_examples=2 * EXAMPLES, deadline=None, derandomize="BMACDB_EXPRESSIONS" not in os.environ)
@given(text=numbers(3), seed=st.integers(0, 3), cells=st.sampled_from([1, 100, 1 << 15]))
def test_live_is_the_range(text: str, seed: int, cells: int) -> None:
    """The value of the look-back's bars and the symbols in them is, bit for bit, that of a range."""
    tried = bound(text)
    first = tried.lookback - 1
    grid = market(seed, tried.lookback + SHOWN - 1, 9)
    whole = fast(tried, grid.columns, first, cells=cells, threads=2)
    for number in range(SHOWN):
        last = first + number
        held = grid.there[last - first : last + 1].any(axis=0)
        columns = {
            name: np.ascontiguousarray(column[last - first : last + 1, held]) for name, column in grid.columns.items()
        }
        live = fast(tried, columns, first)
        shown = grid.there[last, held]
        np.testing.assert_array_equal(live[0][shown], whole[number][held][shown], err_msg=text)


@pytest.mark.parametrize(
    "text",
    ["median(close) OVER last_3", "rank() OVER (PARTITION BY open_time ORDER BY close)", "list_sum([close, open])"],
)
def test_what_it_does_not_know_is_left_to_duckdb(text: str) -> None:
    """Whether the fast way knows a factor is told by its tree, with the reason."""
    program, beyond = compile_factors([bound(text), bound("close")])
    assert list(beyond) == [0]
    assert len(program.outputs) == 1


def test_the_list_says_which_way_a_factor_goes() -> None:
    """`bmacdb factors --list` names the reason where a factor is left to DuckDB."""
    library = Library()
    assert describe(library, "Ma")["way"] == "arrays"
    assert describe(library, "AmihudRank")["way"] == "arrays"
    assert describe(library, "Kdj")["way"] == "DuckDB: array_agg() over bars is not computed on arrays"


def test_too_few_bars_are_refused() -> None:
    """Bars that are not there are an error, and no value."""
    with pytest.raises(ValueError, match="3 are needed"):
        fast(bound("delay(close, 3)"), market(0, 4, 2).columns, 2)
