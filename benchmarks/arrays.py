"""Factors over candles that are in memory already: arrays, polars, KunQuant where it is installed, DuckDB's windows.

KunQuant (`pip install KunQuant`, and a C++ compiler) compiles factors to machine code beforehand, which is not timed.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from bmacdb.factors.bind import Bound
from bmacdb.factors.columns import CANDLE_COLUMNS
from bmacdb.factors.duck import on_duckdb
from bmacdb.factors.fast import prepared
from bmacdb.factors.grid import Array, Grid
from bmacdb.factors.run import compute

__all__ = ["ways"]

Work = Callable[[], object]


def candles(bars: int, symbols: int, lookback: int) -> Grid:
    """Random walks, with nothing in the bars of the look-back, as at the beginning of a record."""
    draw = np.random.default_rng(1)
    close = 50 * np.exp(np.cumsum(draw.normal(0, 0.002, (bars, symbols)), axis=0))
    wide = draw.random((2, bars, symbols)) / 500
    rest = draw.random((5, bars, symbols))
    prices = close * (1 + draw.normal(0, 0.001, close.shape)), close * (1 + wide[0]), close * (1 - wide[1]), close
    volumes = rest[0] * 1000, rest[1] * 1e5, 1 + np.floor(rest[2] * 400), rest[3] * 500, rest[4] * 5e4
    block = np.full((len(CANDLE_COLUMNS), lookback - 1 + bars, symbols), np.nan)
    for number, values in enumerate((*prices, *volumes)):
        block[number, lookback - 1 :] = values
    columns = dict(zip(CANDLE_COLUMNS, block, strict=True))
    names = tuple(f"SYM{number:04d}USDT" for number in range(symbols))
    opens = np.arange(lookback - 1 + bars, dtype=np.int64) * 300_000
    return Grid(names, opens, columns, ~np.isnan(columns["close"]))


def ways(
    bounds: Sequence[Bound], bars: int, symbols: int, spelled: Sequence[tuple[str, int]], polars: Sequence[pl.Expr]
) -> tuple[dict[str, Work], Callable[[], dict[str, Array]]]:
    """Each way as a work; and what they make, for comparison: (factors, bars, symbols)."""
    lookback = max(bound.lookback for bound in bounds)
    grid = candles(bars, symbols, lookback)
    assert not prepared(bounds).beyond
    columns = {name: values[lookback - 1 :] for name, values in grid.columns.items()}
    frame = pl.DataFrame(
        {"symbol": np.repeat(grid.symbols, bars), **{name: values.T.ravel() for name, values in columns.items()}}
    )

    def ours() -> Array:
        values = np.empty((len(bounds), bars, symbols))
        compute(bounds, grid, lookback - 1, {}, list(values))
        return values

    works: dict[str, Work] = {
        "bmacdb": ours,
        "polars": lambda: frame.select(column.over("symbol") for column in polars),
        "DuckDB's windows": lambda: on_duckdb(bounds, grid, lookback - 1, {}),
    }
    if importlib.util.find_spec("KunQuant") is not None:
        for threads in (2, 1):
            works[f"KunQuant, {threads} threads"] = kunquant(spelled, columns, threads)

    def made() -> dict[str, Array]:
        found = {name: work() for name, work in works.items()}
        table = found["polars"]
        assert isinstance(table, pl.DataFrame)
        found["polars"] = np.stack(
            [table[:, number].to_numpy().reshape(symbols, bars).T for number in range(len(bounds))]
        )
        for name, values in found.items():
            if isinstance(values, dict):
                found[name] = np.stack([values[f"{factor}_{n}"] for factor, n in spelled])
        return {name: np.asarray(values) for name, values in found.items()}

    return works, made


def kunquant(spelled: Sequence[tuple[str, int]], columns: dict[str, Array], threads: int) -> Work:
    """The factors compiled to machine code, as a work that gives them by name."""
    from KunQuant.Driver import KunCompilerConfig
    from KunQuant.jit import cfake
    from KunQuant.Op import Builder, Input, Output
    from KunQuant.ops import BackRef, Log, WindowedAvg, WindowedMax, WindowedMin, WindowedStddev, WindowedSum
    from KunQuant.runner import KunRunner
    from KunQuant.Stage import Function

    short = {name: name.replace("taker_buy_quote_asset_volume", "takers") for name in columns}
    short.pop("taker_buy_base_asset_volume")
    builder = Builder()
    with builder:
        given = {name: Input(name) for name in short.values()}
        close, quote = given["close"], given["quote_volume"]
        for name, n in spelled:
            mean = WindowedAvg(close, n)
            match name:
                case "PctChg":
                    value = close / BackRef(close, n) - 1
                case "Bias":
                    value = close / mean - 1
                case "QuoteVolumeMean":
                    value = WindowedAvg(quote, n)
                case "Amplitude":
                    value = WindowedMax(given["high"], n) / WindowedMin(given["low"], n) - 1
                case "TakerBuyRatio":
                    value = WindowedSum(given["takers"], n) / WindowedSum(quote, n)
                case "TrdNumMeanV1":
                    value = WindowedAvg((given["high"] - given["low"]) / given["open"] / given["trade_num"], n)
                case "VolumeRatio":
                    value = quote / WindowedAvg(BackRef(quote, 1), n)
                case "VwapBias":
                    value = close / (WindowedSum(quote, n) / WindowedSum(given["volume"], n)) - 1
                case "BollWidth":
                    value = WindowedStddev(close, n) * (4 * math.sqrt((n - 1) / n)) / mean
                case _:
                    value = WindowedStddev(Log(close / BackRef(close, 1)), n)  # Volatility
            Output(value, f"{name}_{n}")
    config = KunCompilerConfig(
        dtype="double", input_layout="TS", output_layout="TS", options={"no_fast_stat": "no_warn"}
    )
    library = cfake.compileit([("f", Function(builder.ops), config)], "benchmark", cfake.CppCompilerConfig())
    module = library.getModule("f")
    one = threads == 1
    executor = KunRunner.createSingleThreadExecutor() if one else KunRunner.createMultiThreadExecutor(threads)
    inputs = {other: np.ascontiguousarray(columns[name]) for name, other in short.items()}
    bars = len(inputs["close"])

    def work(library: object = library) -> object:
        return KunRunner.runGraph(executor, module, inputs, 0, bars)

    return work
