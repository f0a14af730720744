"""Factors of the whole market beside pandas on files, a pandas group-by, and polars: the same factors, proven equal.

bmacdb asks another process, which serves a database as the recorder does; the others have what they need on the disk
(a parquet file per symbol) or in this process's memory already (group-by and polars: one sorted frame). Polars and the
group-by read no more than the look-back where only the latest value is wanted; files cannot be read in part.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl

from benchmarks import arrays, factors
from benchmarks.factors import FEED, START_MS, STEP_MS
from benchmarks.measured import Row, alternate
from benchmarks.parts.limits import loopback_ms, memory_ms_per_mb
from bmacdb.factors.library import Library, bundled_names
from bmacdb.factors.run import compute
from bmacdb.kit import CandleReader
from bmacdb.kit.engine import compute_plan

__all__ = ["measure"]

CANDLES = 1500
TWO = [("PctChg", 100), ("TrdNumMeanV1", 80)]
TEN = [(name, 24) for name in ("PctChg", "Bias", "QuoteVolumeMean", "Amplitude", "TakerBuyRatio")]
TEN += [(name, 24) for name in ("TrdNumMeanV1", "VolumeRatio", "VwapBias", "BollWidth", "Volatility")]
TWENTY = [(name, length) for length in (24, 48) for name, _ in TEN]
ALPHAS = sorted(name for name in bundled_names() if name.startswith("Alpha"))
SETS = {2: TWO, 10: TEN, 20: TWENTY}
Spelled = list[tuple[str, int]]


def in_pandas(frame: pd.DataFrame, name: str, n: int) -> pd.Series[float]:
    """One factor over the frame of one symbol, as users write it."""
    close, quote, volume = frame["close"], frame["quote_volume"], frame["volume"]
    match name:
        case "PctChg":
            return close.pct_change(n)
        case "Bias":
            return close / close.rolling(n).mean() - 1
        case "QuoteVolumeMean":
            return quote.rolling(n).mean()
        case "Amplitude":
            return frame["high"].rolling(n).max() / frame["low"].rolling(n).min() - 1
        case "TakerBuyRatio":
            return frame["taker_buy_quote_asset_volume"].rolling(n).sum() / quote.rolling(n).sum()
        case "TrdNumMeanV1":
            return ((frame["high"] - frame["low"]) / frame["open"] / frame["trade_num"]).rolling(n).mean()
        case "VolumeRatio":
            return quote / quote.shift().rolling(n).mean()
        case "VwapBias":
            return close / (quote.rolling(n).sum() / volume.rolling(n).sum()) - 1
        case "BollWidth":
            return 4 * close.rolling(n).std(ddof=0) / close.rolling(n).mean()
        case _:
            return np.log(close / close.shift()).rolling(n).std()  # Volatility


def in_group(frame: pd.DataFrame, name: str, n: int) -> pd.Series[float]:
    """The same over a frame of all symbols, each with the same number of bars, sorted: one rolling by group."""
    key = frame["symbol"]

    def shift(values: pd.Series[float], by: int) -> pd.Series[float]:
        return values.groupby(key, sort=False).shift(by)

    def rolled(values: pd.Series[float], how: str, **options: int) -> pd.Series[float]:
        found = getattr(values.groupby(key, sort=False).rolling(n), how)(**options)
        return pd.Series(found.to_numpy(), frame.index)

    close, quote, volume = frame["close"], frame["quote_volume"], frame["volume"]
    match name:
        case "PctChg":
            return close / shift(close, n) - 1
        case "Bias":
            return close / rolled(close, "mean") - 1
        case "QuoteVolumeMean":
            return rolled(quote, "mean")
        case "Amplitude":
            return rolled(frame["high"], "max") / rolled(frame["low"], "min") - 1
        case "TakerBuyRatio":
            return rolled(frame["taker_buy_quote_asset_volume"], "sum") / rolled(quote, "sum")
        case "TrdNumMeanV1":
            return rolled((frame["high"] - frame["low"]) / frame["open"] / frame["trade_num"], "mean")
        case "VolumeRatio":
            return quote / rolled(shift(quote, 1), "mean")
        case "VwapBias":
            return close / (rolled(quote, "sum") / rolled(volume, "sum")) - 1
        case "BollWidth":
            return 4 * rolled(close, "std", ddof=0) / rolled(close, "mean")
        case _:
            return rolled(np.log(close / shift(close, 1)), "std")


def in_polars(name: str, n: int) -> pl.Expr:
    """The same as an expression over each symbol."""
    close, quote, volume = pl.col("close"), pl.col("quote_volume"), pl.col("volume")
    found = {
        "PctChg": close / close.shift(n) - 1,
        "Bias": close / close.rolling_mean(n) - 1,
        "QuoteVolumeMean": quote.rolling_mean(n),
        "Amplitude": pl.col("high").rolling_max(n) / pl.col("low").rolling_min(n) - 1,
        "TakerBuyRatio": pl.col("taker_buy_quote_asset_volume").rolling_sum(n) / quote.rolling_sum(n),
        "TrdNumMeanV1": ((pl.col("high") - pl.col("low")) / pl.col("open") / pl.col("trade_num")).rolling_mean(n),
        "VolumeRatio": quote / quote.shift().rolling_mean(n),
        "VwapBias": close / (quote.rolling_sum(n) / volume.rolling_sum(n)) - 1,
        "BollWidth": 4 * close.rolling_std(n, ddof=0) / close.rolling_mean(n),
        "Volatility": (close / close.shift()).log().rolling_std(n),
    }
    return found[name].alias(f"{name}_{n}")


class Ways:
    """The others: what they have, and the same factors of it: rows by symbol (and time), a column for each factor."""

    def __init__(self, folder: Path, frame: pd.DataFrame) -> None:
        self._whole = frame
        self._polars = pl.from_pandas(frame)
        self._places = frame.groupby("symbol", sort=False).cumcount(ascending=False).to_numpy()
        folder.mkdir()
        self._paths = factors.files(folder, frame)

    def files(self, wanted: Spelled, *, latest: bool) -> pd.DataFrame:
        found = []
        for path in self._paths:
            bars = pd.read_parquet(path)
            columns = {f"{name}_{n}": in_pandas(bars, name, n) for name, n in wanted}
            table = pd.DataFrame(columns)
            found.append(table.iloc[-1:] if latest else table)
        return pd.concat(found, ignore_index=True)

    def group(self, wanted: Spelled, *, latest: bool) -> pd.DataFrame:
        back = max(n for _, n in wanted) + 2
        bars = self._whole[self._places < back] if latest else self._whole
        table = pd.DataFrame({f"{name}_{n}": in_group(bars, name, n) for name, n in wanted})
        return table.groupby(bars["symbol"], sort=False).tail(1) if latest else table

    def polars(self, wanted: Spelled, *, latest: bool) -> pl.DataFrame:
        back = max(n for _, n in wanted) + 2
        columns = [in_polars(name, n) for name, n in wanted]
        if not latest:
            return self._polars.select(column.over("symbol") for column in columns)
        since = self._polars["open_time"].max() - pl.duration(milliseconds=back * STEP_MS)  # type: ignore[operator]
        bars = self._polars.lazy().filter(pl.col("open_time") > since)
        return bars.group_by("symbol", maintain_order=True).agg(one.last() for one in columns).drop("symbol").collect()


def market(folder: Path, symbols: int, counts: tuple[int, ...], rounds: int, *, over: bool) -> Iterator[Row]:
    """All works over so many symbols; `over` adds those over all bars."""
    path = folder / f"{symbols}.duckdb"
    command = [sys.executable, "-m", "benchmarks.factors", "--serve", str(path)]
    command += ["--symbols", str(symbols), "--candles", str(CANDLES)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "serving\n":
            raise RuntimeError("the process that serves the database did not start; its message stands above")
        last_ms = START_MS + (CANDLES - 1) * STEP_MS
        with CandleReader(path) as reader:
            every = f"SELECT * EXCLUDE (source, recorded_at) FROM {FEED.name}.candles ORDER BY symbol, open_time"
            ways = Ways(folder / f"files-{symbols}", reader.source.ask(every).to_pandas())
            bandwidth = memory_ms_per_mb()
            round_trip = loopback_ms()
            for count in counts:
                wanted = SETS[count]
                plan = Library().plan(wanted)
                names = [f"{name}_{n}" for name, n in wanted]
                for latest in (True, False) if over else (True,):
                    first_ms = last_ms if latest else START_MS

                    def ours(plan: object = plan, first_ms: int = first_ms) -> pd.DataFrame:
                        return compute_plan(reader.source, plan, first_ms, last_ms).frame  # type: ignore[arg-type]

                    works: dict[str, Callable[[], pd.DataFrame | pl.DataFrame]] = {
                        "bmacdb": ours,
                        "pandas on files": lambda wanted=wanted, latest=latest: ways.files(wanted, latest=latest),  # type: ignore[misc]
                        "pandas group-by": lambda wanted=wanted, latest=latest: ways.group(wanted, latest=latest),  # type: ignore[misc]
                        "polars in memory": lambda wanted=wanted, latest=latest: ways.polars(wanted, latest=latest),  # type: ignore[misc]
                    }
                    agree({name: work()[names].to_numpy() for name, work in works.items()}, names)
                    few = list(works)[1:3] if latest else list(works)
                    found = alternate(works, rounds, few)
                    back = max(n for _, n in wanted) if latest else CANDLES
                    volume = symbols * back * 9 * 8 / 1e6 + (0 if latest else symbols * back * count * 8 / 1e6)
                    limit = ("columns through memory and a round trip", bandwidth * volume + round_trip)
                    when = "latest run time" if latest else f"over {CANDLES} bars"
                    work = f"{count} factors × {symbols} symbols, {when}"
                    yield Row("factors", work, "ms", found.pop("bmacdb"), found, limit=limit)
            if symbols == 600 and ALPHAS:
                plan = Library().plan(ALPHAS)
                found = alternate({"bmacdb": lambda: compute_plan(reader.source, plan, last_ms, last_ms)}, rounds)
                yield Row("factors", f"{len(ALPHAS)} of Alpha101 × 600 symbols, latest run time", "ms", found["bmacdb"])
    finally:
        process.communicate()


def in_memory(symbols: int, rounds: int) -> Iterator[Row]:
    """The twenty over all bars, without a question to anybody."""
    bounds = Library().plan(TWENTY).sql
    works, made = arrays.ways(bounds, CANDLES, symbols, TWENTY, [in_polars(name, n) for name, n in TWENTY])
    names = [f"{name}_{n}" for name, n in TWENTY]
    agree({name: values.reshape(len(names), -1).T for name, values in made().items()}, names)
    found = alternate(works, rounds, ["DuckDB's windows"])
    limit = ("columns through memory", memory_ms_per_mb() * symbols * CANDLES * 28 * 8 / 1e6)
    work = f"20 factors × {symbols} symbols, over {CANDLES} bars in memory"
    yield Row("factors", work, "ms", found.pop("bmacdb"), found, limit=limit)
    if ALPHAS:
        bounds = Library().plan(ALPHAS).sql
        lookback = max(bound.lookback for bound in bounds)
        grid = arrays.candles(lookback, symbols, 1)
        values = list(np.empty((len(bounds), 1, symbols)))
        found = alternate({"bmacdb": lambda: compute(bounds, grid, lookback - 1, {}, values)}, rounds)
        work = f"{len(ALPHAS)} of Alpha101 × {symbols} symbols, latest run time, candles in memory"
        yield Row("factors", work, "ms", found["bmacdb"])


def agree(found: dict[str, np.ndarray], names: list[str]) -> None:
    """Refuse ways that do not make the same: what comes faster must be as right."""
    first, here = next(iter(found.items()))
    for name, there in found.items():
        both = np.isfinite(here) & np.isfinite(there)
        close = np.isclose(here, there, rtol=1e-6, atol=1e-9) | ~both
        if here.shape != there.shape or not close.all() or both.mean() < 0.9:
            odd = [column for column, right in zip(names, close.all(axis=0), strict=True) if not right]
            raise AssertionError(f"{name} and {first} differ in {odd}: shapes {here.shape} and {there.shape}")


def measure(full: bool, folder: Path) -> Iterator[Row]:
    """2, 10 and 20 factors; 300, 600 and 2000 symbols."""
    yield from in_memory(600, 15 if full else 7)
    if full:
        for symbols in (300, 600, 2000):
            yield from market(folder, symbols, (2, 10, 20), 15, over=True)
    else:
        yield from market(folder, 300, (2, 20), 5, over=True)
