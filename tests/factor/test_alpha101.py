"""The 82 formulas of *101 Formulaic Alphas* that need no industry give what the paper's text gives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bmacdb.factors.bind import Bound
from bmacdb.factors.call import parse_call
from bmacdb.factors.duck import on_duckdb
from bmacdb.factors.fast import prepared
from bmacdb.factors.grid import Grid
from bmacdb.factors.library import Library
from bmacdb.factors.run import compute
from tests.factor.alpha101 import Market

NUMBERS = sorted(set(range(1, 102)) - {48, 56, 58, 59, 63, 67, 69, 70, 76, 79, 80, 82, 87, 89, 90, 91, 93, 97, 100})
BARS, SYMBOLS = 290, 12


@pytest.fixture(scope="module")
def grid() -> Grid:
    """A market with holes, a late listing, candles without trades and symbols that stand still."""
    random = np.random.default_rng(101)
    size = (BARS, SYMBOLS)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.01, size), axis=0))
    opened = np.vstack([close[:1], close[:-1]]) * np.exp(random.normal(0, 0.001, size))
    high = np.maximum(opened, close) * (1 + np.abs(random.normal(0, 0.004, size)))
    low = np.minimum(opened, close) * (1 - np.abs(random.normal(0, 0.004, size)))
    volume = np.exp(random.normal(5, 1, size))
    # One a symbol: a mean that gains a zero and loses one is the same but for rounding, and ranks either way.
    volume[20 * np.arange(SYMBOLS) + 30, np.arange(SYMBOLS)] = 0.0
    opened[200:240, 5] = high[200:240, 5] = low[200:240, 5] = close[200:240, 5] = 77.0
    volume[200:240, 5] = np.floor(volume[200:240, 5])  # its turnover divided by its volume is 77 to the last bit
    there = random.random(size) > 0.01
    there[:150, 3] = there[100:130, 7] = False
    columns = {"open": opened, "high": high, "low": low, "close": close, "volume": volume}
    columns["quote_volume"] = volume * (high + low + close) / 3
    opens = np.arange(BARS, dtype=np.int64) * 3_600_000
    names = tuple(f"C{number:02d}USDT" for number in range(SYMBOLS))
    return Grid(names, opens, {name: np.where(there, values, np.nan) for name, values in columns.items()}, there)


@pytest.fixture(scope="module")
def market(grid: Grid) -> Market:
    return Market({name: pd.DataFrame(values, columns=list(grid.symbols)) for name, values in grid.columns.items()})


def bound(number: int) -> Bound:
    [found] = Library("factor").plan([f"Alpha{number:03d}"]).sql
    return found


@pytest.mark.parametrize("number", NUMBERS)
def test_a_formula_gives_what_the_paper_says(number: int, grid: Grid, market: Market) -> None:
    alpha = bound(number)
    first = alpha.lookback - 1
    there = grid.there[first:]
    wanted = market.value(alpha.factor.formula).to_numpy()[first:]
    assert np.count_nonzero(np.isfinite(wanted[there])) > 0.3 * np.count_nonzero(there)
    fast = np.empty_like(wanted)
    compute([alpha], grid, first, {}, [fast])
    assert not prepared([alpha]).beyond, "it is computed on arrays"
    for found in (fast, *on_duckdb([alpha], grid, first, {})):
        np.testing.assert_allclose(found[there], wanted[there], rtol=1e-8, atol=1e-10)


def test_the_last_bar_alone_has_the_bits_of_a_range(grid: Grid) -> None:
    """Live there are the bars of the look-back and no more."""
    alphas = [bound(number) for number in NUMBERS]
    lookback = max(alpha.lookback for alpha in alphas)
    ranged = np.empty((len(alphas), BARS - lookback + 1, SYMBOLS))
    compute(alphas, grid, lookback - 1, {}, list(ranged))
    for last in (lookback, lookback + 7, BARS):
        cut = slice(last - lookback, last)
        columns = {name: values[cut] for name, values in grid.columns.items()}
        live = np.empty((len(alphas), 1, SYMBOLS))
        compute(alphas, Grid(grid.symbols, grid.opens[cut], columns, grid.there[cut]), lookback - 1, {}, list(live))
        there = grid.there[last - 1]
        np.testing.assert_array_equal(live[:, 0, there], ranged[:, last - lookback, there])


def test_a_look_back_is_as_long_as_the_windows_within_each_other() -> None:
    lookbacks = {number: bound(number).lookback for number in (3, 12, 31, 61, 101)}
    assert lookbacks == {3: 10, 12: 2, 31: 31, 61: 180 - 1 + 17, 101: 1}


def test_the_oracle_turns_the_papers_conditions_round() -> None:
    """`c ? a : b` is not Python, and lies within parentheses of its own."""
    frame = pd.DataFrame({"A": [1.0, 2.0, 3.0, 2.0]})
    market = Market(dict.fromkeys(("open", "high", "low", "close", "volume", "quote_volume"), frame))
    value = market.value("((2 < close) ? (-1 * 1) : ((close == 1) ? delay(close, 1) : close))")
    assert value["A"].to_list()[1:] == [2.0, -1.0, 2.0]
    assert parse_call("Alpha001").column == "Alpha001"
