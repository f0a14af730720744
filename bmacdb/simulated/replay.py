"""Real candles in place of generated ones: archive files, replayed with their times shifted to now.

A file is laid out as a circle of bars, so that it never ends; half of it lies before the start and is
history. Where the file has no bar, the exchange has none either.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np

from bmacdb.errors import UsageError
from bmacdb.interval import DAY_MS, INTERVALS, Interval
from bmacdb.model import Market
from bmacdb.simulated.generate import Ints, Numbers, Style, style_of

__all__ = ["Replay", "load_replays"]

_NAME = re.compile(r"(?P<symbol>.+?)-(?P<interval>[0-9]+(?:mo|[smhdwM]))(?:-\d{4}.*)?\.(?:csv|csv\.gz|zip|parquet)")
_ENDINGS = (".csv", ".csv.gz", ".zip", ".parquet")
_MOST_DECIMALS = 8
_YEAR_3000_MS = 32_503_680_000_000  # a stamp beyond it counts microseconds: spot archives since 2025
_COLUMNS = (
    "open_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
)
_PLACES = (0, 1, 2, 3, 4, 5, 7, 8, 9, 10)  # of these in a row of an archive file


@dataclass(frozen=True, slots=True)
class Replay:
    """The bars of one symbol at one interval; `places` holds for each slot of the circle its row, or -1."""

    market: Market
    symbol: str
    interval: Interval
    style: Style
    origin_ms: int
    places: Ints
    columns: tuple[Ints, ...]  # open high low close volume quote_volume trades taker_base taker_quote

    def _rows(self, opens_ms: Ints) -> Ints:
        slots = (opens_ms - self.origin_ms) // self.interval.length_ms % len(self.places)
        rows: Ints = self.places[slots]
        return rows

    def existing(self, opens_ms: Ints) -> Ints:
        """Those open times at which there is a bar."""
        present: Ints = opens_ms[self._rows(opens_ms) >= 0]
        return present

    def numbers(self, opens_ms: Ints) -> Numbers:
        """The bars that opened at `opens_ms`, each of which exists."""
        rows = self._rows(opens_ms)
        return Numbers(opens_ms, opens_ms + self.interval.length_ms, *(column[rows] for column in self.columns))


def load_replays(
    paths: Iterable[Path], *, start_ms: int, markets: Sequence[Market], anchored: dict[str, Interval]
) -> list[Replay]:
    """Read klines files (csv, csv.gz, zip, parquet) and directories of them.

    The market is told by the path (`spot`, `um`, `cm`), or by the symbol, or it is the only one of
    `markets`. Raises UsageError for a file that is no klines file, with its place.
    """
    rows: dict[tuple[Market, str, str], dict[int, tuple[str, ...]]] = {}
    for path in _files(paths):
        match = _NAME.fullmatch(path.name)
        name = "" if match is None else match["interval"].replace("mo", "M")
        if match is None or name not in INTERVALS:
            raise UsageError(
                f"{path} is not named like BTCUSDT-1m-2026-02.zip, so its symbol and interval are unknown."
            )
        if name == "1M":
            raise UsageError(f"{path}: months differ in length and cannot be replayed; take 1w or shorter.")
        key = (_market_of(path, match["symbol"], markets), match["symbol"], name)
        if read := {int(row[0]): row for row in _read(path)}:
            rows.setdefault(key, {}).update(read)
    if not rows:
        raise UsageError(f"no klines file in {', '.join(map(str, paths)) or 'no path'}.")
    return [_lay_out(*key[:2], anchored[key[2]], found, start_ms) for key, found in rows.items()]


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(
                one for one in path.rglob("*") if one.name.endswith(_ENDINGS) and _NAME.fullmatch(one.name)
            )
        elif path.is_file():
            yield path
        else:
            raise UsageError(f"{path} does not exist: --replay takes klines files or directories of them.")


def _market_of(path: Path, symbol: str, markets: Sequence[Market]) -> Market:
    if re.search(r"USD_(PERP|\d{6})$", symbol):
        return Market.COIN_FUTURES
    if len(markets) == 1:
        return markets[0]
    parts = {part.lower() for part in path.parts}
    return Market.SPOT if "spot" in parts else Market.COIN_FUTURES if "cm" in parts else Market.USDT_FUTURES


def _read(path: Path) -> Iterator[tuple[str, ...]]:
    """Open time in ms and the nine numbers of each row, as text."""
    try:
        if path.suffix == ".parquet":
            yield from _read_parquet(path)
            return
        for text in _texts(path):
            for number, row in enumerate(csv.reader(io.StringIO(text)), 1):
                if not row or (number == 1 and not row[0].isdigit()):
                    continue  # futures files have a header, spot files have none
                open_ms = int(row[0]) if int(row[0]) < _YEAR_3000_MS else int(row[0]) // 1000
                yield (str(open_ms), *(row[place] for place in _PLACES[1:]))
    except (OSError, ValueError, IndexError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} is no klines file: {error}.") from error


def _texts(path: Path) -> Iterator[str]:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                yield archive.read(name).decode()
    elif path.suffix == ".gz":
        yield gzip.decompress(path.read_bytes()).decode()
    else:
        yield path.read_text()


def _read_parquet(path: Path) -> Iterator[tuple[str, ...]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    missing = [name for name in _COLUMNS if name not in table.column_names]
    if missing:
        raise ValueError(f"it lacks the columns {', '.join(missing)}")
    opens = table["open_time"]
    if pa.types.is_timestamp(opens.type):
        opens = opens.cast(pa.timestamp("ms", opens.type.tz)).cast(pa.int64())
    columns = [opens.to_pylist(), *(table[name].to_pylist() for name in _COLUMNS[1:])]
    for open_time, *numbers in zip(*columns, strict=True):
        open_ms = open_time if open_time < _YEAR_3000_MS else open_time // 1000
        yield (str(open_ms), *(str(number) for number in numbers))


def _lay_out(
    market: Market, symbol: str, interval: Interval, found: dict[int, tuple[str, ...]], start_ms: int
) -> Replay:
    times = sorted(found)
    length = interval.length_ms
    slots = (times[-1] - times[0]) // length + 1
    # By whole days where there are enough, so that a night stays a night.
    unit = DAY_MS if slots * length >= 2 * DAY_MS else length
    shift = (start_ms - times[0] - slots // 2 * length) // unit * unit
    places = np.full(slots, -1, np.int64)
    places[(np.array(times, np.int64) - times[0]) // length] = np.arange(len(times))
    try:
        table = [[Decimal(text) for text in found[time][1:]] for time in times]
    except InvalidOperation as error:
        raise UsageError(f"klines of {symbol} hold what is no number: {error}.") from error
    price = _decimals(row[place] for row in table for place in range(4))
    volume = _decimals(row[place] for row in table for place in (4, 7))
    quote = _decimals(row[place] for row in table for place in (5, 8))
    decimals = (price, price, price, price, volume, quote, 0, volume, quote)
    columns = tuple(
        np.array([int(row[place].scaleb(digits).to_integral_value()) for row in table], np.int64)
        for place, digits in enumerate(decimals)
    )
    style = Style(
        key=style_of(market, symbol).key,
        base=max(int(np.median(columns[3])), 1),
        price_decimals=price,
        volume_decimals=volume,
        quote_decimals=quote,
        trades_a_minute=1,
        quiet=False,
        contract_size=(100 if symbol.startswith("BTC") else 10) if market is Market.COIN_FUTURES else 0,
    )
    return Replay(market, symbol, interval, style, interval.floor(times[0] + shift), places, columns)


def _decimals(numbers: Iterable[Decimal]) -> int:
    """Decimals that hold every one of `numbers`, trailing zeros left out."""
    needed = 0
    for number in numbers:
        exponent = number.normalize().as_tuple().exponent
        if isinstance(exponent, int):
            needed = max(needed, -exponent)
    return min(needed, _MOST_DECIMALS)
