"""The panel holds, cell by cell, what a plain dictionary of rows holds."""

from __future__ import annotations

from collections.abc import Iterable

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmacdb.clock import from_ms
from bmacdb.errors import UsageError
from bmacdb.factors.columns import CANDLE_COLUMNS, FUNDING_COLUMNS, SETTLED_S
from bmacdb.interval import DAY_MS, HOUR_MS, Interval
from bmacdb.kit.range import Range, fundings_statement
from bmacdb.live.panel import Panel
from bmacdb.store.rows import SCHEMAS

BASE_MS = 1_709_251_200_000  # 2024-03-01
INTERVALS = [Interval.parse("1m"), Interval.parse("4h"), Interval.parse("1M"), Interval.parse("3d").anchored(0)]

Row = tuple[str, int, float]


def candles(rows: Iterable[Row]) -> pa.Table:
    """Rows (symbol, open time, value); each column has a value of its own."""
    return pa.Table.from_pylist(
        [
            {"symbol": symbol, "open_time": from_ms(ms)}
            | {name: int(value) + n if name == "trade_num" else value + n for n, name in enumerate(CANDLE_COLUMNS)}
            for symbol, ms, value in rows
        ],
        SCHEMAS["candles"],
    )


def fundings(rows: Iterable[tuple[str, int, str, float]]) -> pa.Table:
    names = ("symbol", "funding_time", "rate_type", "funding_rate")
    return pa.Table.from_pylist(
        [dict(zip(names, (symbol, from_ms(ms), kind, rate), strict=True)) for symbol, ms, kind, rate in rows],
        SCHEMAS["funding_rates"],
    )


symbols = st.sampled_from(["BTCUSDT", "ETHUSDT", "AAVEUSDT", "币安人生USDT", "1000PEPEUSDT"])
values = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))
candle_rows = st.lists(st.tuples(symbols, st.integers(0, 60), values), max_size=12)
settled = st.tuples(symbols, st.integers(0, 60), st.integers(-2, 2), st.sampled_from(["regular", "adhoc"]), values)
steps = st.lists(
    st.one_of(candle_rows, st.tuples(st.lists(settled, max_size=6)), st.integers(0, 60), st.none()), max_size=12
)


@settings(max_examples=300, deadline=None)
@given(interval=st.sampled_from(INTERVALS), window=st.integers(1, 12), steps=steps)
def test_every_cell_is_that_of_a_plain_dictionary(interval: Interval, window: int, steps: list[object]) -> None:
    """Late rows, corrections, gaps, jumps longer than the window, new symbols, fundings before and after their bar."""
    opens = [interval.shift(interval.floor(BASE_MS), n) for n in range(62)]
    panel = Panel("usdt_perp", interval, window, opens[0], fundings=True)
    known: dict[tuple[str, int], float] = {}
    rates: dict[tuple[str, int, str], float] = {}
    newest = 0
    for step in steps:
        if step is None:
            panel.clear()
            known = {}
        elif isinstance(step, int):
            newest = max(newest, step)
            panel.advance(opens[step])
        elif isinstance(step, list):
            rows = candles((symbol, opens[bar], value) for symbol, bar, value in step)
            held = {key for key in known if key[1] >= panel.opens[0]}
            unlike = [
                opens[bar] >= panel.opens[0]
                and ((symbol, opens[bar]) not in held or known[symbol, opens[bar]] != value)
                for symbol, bar, value in step
            ]
            assert panel.unlike(rows).tolist() == unlike
            new = panel.apply(rows)
            newest = max([newest, *(bar for _, bar, _ in step)])
            assert set(new) <= {symbol for symbol, _, _ in step}
            known |= {(symbol, opens[bar]): value for symbol, bar, value in step}
        else:
            assert isinstance(step, tuple)
            # Around the instant from which on a settlement counts for the next bar.
            settlements = [
                (s, opens[bar + 1] - SETTLED_S * 1000 + near * 500, k, rate) for s, bar, near, k, rate in step[0]
            ]
            panel.apply_fundings(fundings(settlements))
            for symbol, ms, kind, rate in settlements:
                rates.setdefault((symbol, ms, kind), rate)
        check(panel, opens[newest], known, rates)


def check(
    panel: Panel, newest_ms: int, known: dict[tuple[str, int], float], rates: dict[tuple[str, int, str], float]
) -> None:
    interval, window = panel.interval, panel.window
    opens = [interval.shift(newest_ms, n - window + 1) for n in range(window)]
    assert panel.opens.tolist() == opens
    assert list(panel.symbols) == sorted(set(panel.symbols))
    assert set(panel.symbols) >= {symbol for symbol, ms in known if ms in opens}
    assert set(panel.columns) == {*CANDLE_COLUMNS, *FUNDING_COLUMNS}
    for column, symbol in enumerate(panel.symbols):
        assert panel.place(symbol) == column
        for bar, open_ms in enumerate(opens):
            value = known.get((symbol, open_ms))
            assert panel.there[bar, column] == (value is not None)
            for n, name in enumerate(CANDLE_COLUMNS):
                whole = value is not None and name == "trade_num"
                wanted = np.nan if value is None else float(int(value) + n if whole else value + n)
                np.testing.assert_equal(panel[name][bar, column], wanted)
            found = [
                rate
                for (name, ms, _), rate in sorted(rates.items(), key=lambda item: item[0][1:])
                if name == symbol and interval.floor((ms // 1000 + SETTLED_S) * 1000) == open_ms
            ]
            cell = tuple(panel[name][bar, column] for name in FUNDING_COLUMNS)
            total = 0.0
            for rate in found:
                total += rate
            np.testing.assert_equal(cell, (found[-1], total, len(found)) if found else (np.nan,) * 3)


def test_fundings_are_those_of_the_factors_statement() -> None:
    """To the last bit, where many are settled within a bar and their order counts for their sum."""
    day, random = Interval.parse("1d"), np.random.default_rng(7)
    first = day.floor(BASE_MS)
    rows = [
        (symbol, first + hour * HOUR_MS + int(late), kind, float(rate))
        for symbol in ("ETHUSDT", "BTCUSDT")
        for hour, late, rate in zip(
            range(-30, 144), random.integers(0, 900, 174), random.normal(0, 1e-4, 174), strict=True
        )
        for kind in ("regular", "adhoc")[: 1 + hour % 2]
    ]
    table = fundings(rows[i] for i in random.permutation(len(rows)))
    panel = Panel("usdt_perp_1d", day, 5, first, fundings=True)
    panel.apply(candles((symbol, first, 1.0) for symbol in ("BTCUSDT", "ETHUSDT")))
    panel.apply_fundings(table.slice(0, 100))
    panel.apply(candles([("BTCUSDT", first + 4 * DAY_MS, 2.0)]))
    panel.apply_fundings(table.slice(90))

    conn = duckdb.connect()
    conn.execute("SET TimeZone = 'UTC'; CREATE SCHEMA \"usdt_perp_1d\"")
    conn.register("rates", table)
    conn.execute('CREATE TABLE "usdt_perp_1d".funding_rates AS FROM rates')
    span = Range("usdt_perp_1d", day, first, first + 4 * DAY_MS)
    wanted = conn.execute(fundings_statement(span, panel.symbols, 1)).to_arrow_table()
    assert wanted.num_rows == 10
    for name in FUNDING_COLUMNS:
        cells = np.full(10, np.nan)
        cells[wanted.column("cell").to_numpy()] = wanted.column(name).to_numpy()
        np.testing.assert_array_equal(panel[name].ravel(), cells)
    conn.close()


def test_a_grid_is_a_view() -> None:
    """The last bars, or those up to an earlier run time, without a copy; what the window does not hold is refused."""
    minute = Interval.parse("1m")
    panel = Panel("spot_1m", minute, 10, BASE_MS)
    panel.apply(candles(("BTCUSDT", BASE_MS + n * 60_000, n) for n in range(12)))
    grid = panel.grid(3)
    assert grid.symbols == ("BTCUSDT",)
    assert grid.columns["open"][:, 0].tolist() == [9, 10, 11]
    assert np.shares_memory(grid.columns["open"], panel.block)
    earlier = panel.grid(2, BASE_MS + 10 * 60_000)
    assert earlier.columns["open"][:, 0].tolist() == [8, 9]
    assert earlier.opens.tolist() == [BASE_MS + 8 * 60_000, BASE_MS + 9 * 60_000]
    assert len(panel.grid().opens) == 10
    for bars, end_ms in (
        (11, None),
        (0, None),
        (2, BASE_MS + 3 * 60_000),
        (1, BASE_MS + 13 * 60_000),
        (1, BASE_MS + 5),
    ):
        with pytest.raises(UsageError):
            panel.grid(bars, end_ms)


def test_memory_comes_from_where_it_is_asked() -> None:
    """Whoever wants the panel in shared memory gives the allocator; a new symbol moves it, a new bar does not."""
    asked: list[tuple[int, ...]] = []

    def allocate(shape: tuple[int, ...], dtype: object) -> np.ndarray:
        asked.append(shape)
        return np.empty(shape, np.dtype(dtype))

    panel = Panel("spot_1m", Interval.parse("1m"), 4, BASE_MS, allocate=allocate)
    panel.apply(candles([("BTCUSDT", BASE_MS, 1.0)]))
    moves, before = panel.moves, len(asked)
    for n in range(20):
        panel.apply(candles([("BTCUSDT", BASE_MS + n * 60_000, 1.0)]))
    assert (panel.moves, len(asked)) == (moves, before)
    panel.apply(candles([("AAVEUSDT", BASE_MS + 20 * 60_000, 1.0)]))
    assert panel.symbols == ("AAVEUSDT", "BTCUSDT")
    assert panel.moves == moves + 1
    assert asked[-2:] == [(len(CANDLE_COLUMNS), 8, 2), (8, 2)]


@pytest.mark.parametrize(("window", "newest_ms"), [(0, BASE_MS), (5, BASE_MS + 1)])
def test_a_panel_that_cannot_be_is_refused(window: int, newest_ms: int) -> None:
    with pytest.raises(UsageError):
        Panel("spot_1m", Interval.parse("1m"), window, newest_ms)


def test_what_is_not_there_is_named() -> None:
    panel = Panel("spot_1m", Interval.parse("1m"), 3, BASE_MS)
    with pytest.raises(UsageError, match="'funding_rate' is none"):
        panel["funding_rate"]
    with pytest.raises(UsageError, match="'BTCUSDT' has no candle"):
        panel.place("BTCUSDT")
