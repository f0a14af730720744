"""A file's text as a table of the record: sniffed, checked, and never half believed. Pure.

The archive's files differ with their age: with a header or without, stamps in milliseconds or (spot since 2025) in
microseconds, `count` or `trades`, an `ignore` at the end or not. What they hold is told row by row, not by date.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from bmacdb.clock import from_ms
from bmacdb.errors import Malformed
from bmacdb.interval import DAY_MS, Interval
from bmacdb.model import Source
from bmacdb.store.rows import SCHEMAS

__all__ = ["CANDLE_SCHEMA", "FUNDING_SCHEMA", "Parsed", "parse_funding", "parse_klines", "stamped"]

CANDLE_SCHEMA: pa.Schema = SCHEMAS["candles"]
FUNDING_SCHEMA: pa.Schema = SCHEMAS["funding_rates"]

_TIME = pa.timestamp("us", tz="UTC")
_MICROSECONDS = 100_000_000_000_000  # a stamp from here on counts microseconds: in milliseconds it is the year 5138
_FOR_EVER_MS = 1 << 60
_MOST_ODD = 0.01  # rows beside the grid, as the exchange's first years have a few
_VALUES = CANDLE_SCHEMA.names[2:11]
_KLINES = (
    "open_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "close_time",
    "quote_volume",
    "trade_num",
    "taker_buy_base_asset_volume",
    "taker_buy_quote_asset_volume",
    "ignore",
)
_OTHER_NAMES = {
    "count": "trade_num",
    "trades": "trade_num",
    "number_of_trades": "trade_num",
    "num_trades": "trade_num",
    "quote_asset_volume": "quote_volume",
    "taker_buy_volume": "taker_buy_base_asset_volume",
    "taker_buy_base_volume": "taker_buy_base_asset_volume",
    "taker_buy_quote_volume": "taker_buy_quote_asset_volume",
}
_WHOLE = frozenset({"open_time", "close_time", "trade_num", "calc_time"})
_FUNDING = ("calc_time", "funding_interval_hours", "last_funding_rate")


@dataclass(frozen=True, slots=True)
class Parsed:
    """The rows of a file, in order of time and each once. `notes` tell what was left out, and why."""

    table: pa.Table
    notes: tuple[str, ...] = ()


def _ends_after(data: bytes, place: int) -> bool:
    """Whether nothing but blanks comes behind `place`; looked at in the first bytes, for there are megabytes."""
    return not data[place + 1 : place + 4096].strip() and not data[place + 1 :].strip()


def _columns(data: bytes, usual: tuple[str, ...], what: str) -> tuple[list[str], int]:
    """The names of the columns in their order, and how many lines stand before the first row."""
    at = data.find(b"\n") if b"\n" in data else len(data)
    first = data[:at].decode("utf-8-sig", "replace").strip()
    names = list(usual)
    if first[:1].isdigit():
        count, skip = first.count(",") + 1, 0
    else:
        found = [name.strip().strip('"').lower() for name in first.split(",")]
        names, skip = [_OTHER_NAMES.get(name, name) for name in found], 1
        count = len(names) if _ends_after(data, at) else data.count(b",", at, data.find(b"\n", at + 1)) + 1
    least = len(usual) - (usual[-1] == "ignore")
    if not skip:
        names = names[:count] if least <= count <= len(usual) else names
    missing = [name for name in usual[:least] if name not in names]
    if missing or count != len(names):
        raise Malformed(f"{what}: it has {count} columns ({first[:80]}), where {', '.join(usual)} are expected.")
    return names, skip


def _read(data: bytes, usual: tuple[str, ...], wanted: tuple[str, ...], what: str) -> pa.Table:
    names, skip = _columns(data, usual, what)
    types = {name: pa.int64() if name in _WHOLE else pa.float64() for name in wanted}
    if skip and (b"\n" not in data or _ends_after(data, data.find(b"\n"))):
        return pa.schema(types.items()).empty_table()
    try:
        table = pacsv.read_csv(
            pa.BufferReader(data),
            pacsv.ReadOptions(
                use_threads=False, column_names=names, skip_rows=skip, block_size=max(len(data) + 1, 1 << 16)
            ),
            convert_options=pacsv.ConvertOptions(
                column_types=types, include_columns=list(wanted), null_values=[""], strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        raise Malformed(f"{what}: {str(error).splitlines()[0]}") from error
    for name in table.column_names:
        column = table[name]
        bad = column.null_count or (name not in _WHOLE and not pc.all(pc.is_finite(column), min_count=0).as_py())
        if bad:
            raise Malformed(f"{what}: column {name} has fields that are empty or no number.")
    return table


def _milliseconds(stamps: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    times: npt.NDArray[np.int64] = stamps.to_numpy().astype(np.int64, copy=False)
    return np.where(times >= _MICROSECONDS, times // 1000, times)


def parse_klines(
    data: bytes,
    *,
    symbol: str,
    interval: Interval,
    what: str,
    start_ms: int | None = None,
    end_ms: int | None = None,
    closed_by_ms: int | None = None,
    delivered_ms: int | None = None,
) -> Parsed:
    """The candles in a file's text, as the table `candles` has them (`recorded_at` is the epoch: see `stamped`).

    Every row must open in [start, end), where given, and lie on the interval's grid; `what` names the file in errors.
    Rows that were not closed at `closed_by_ms` are left out, and so are the flat ones that the archive goes on printing
    when a contract has been delivered or settled (`delivered_ms`). Raises Malformed, whose text says what is wrong.
    """
    if _ends_after(data, -1):
        return Parsed(CANDLE_SCHEMA.empty_table(), ("it is empty",))
    table = _read(data, _KLINES, _KLINES[:-1], what)
    if not table.num_rows:
        return Parsed(CANDLE_SCHEMA.empty_table(), ("it is empty",))
    opens, closes = _milliseconds(table["open_time"]), _milliseconds(table["close_time"])
    if interval.name == "3d":
        interval = interval.anchored(int(opens[0]))  # its grid is the exchange's to choose
    nexts = _nexts(opens, interval)
    if np.count_nonzero(closes + 1 == nexts) * 2 < len(opens):
        seconds = (int(closes[0]) + 1 - int(opens[0])) / 1000
        raise Malformed(f"{what}: its bars are {seconds:g} s long, and those of {interval.name} are not.")
    notes: list[str] = []
    keep = _on_grid(opens, interval)
    if odd := int(np.count_nonzero(~keep)):
        if odd > max(_MOST_ODD * len(opens), 1):
            raise Malformed(f"{what}: {odd} of {len(opens)} rows do not open where bars of {interval.name} do.")
        notes.append(f"{odd} rows beside the grid of {interval.name} are left out")
    outside = (opens < (start_ms or 0)) | (opens >= (_FOR_EVER_MS if end_ms is None else end_ms))
    if np.any(outside):
        stray = from_ms(int(opens[np.argmax(outside)]))
        raise Malformed(f"{what}: a row opens at {stray:%Y-%m-%d %H:%M}, which is not of the time in its name.")
    if closed_by_ms is not None and np.any(nexts > closed_by_ms):
        notes.append(f"{int(np.count_nonzero(nexts > closed_by_ms))} rows that have not closed are left out")
        keep &= nexts <= closed_by_ms
    traded = table["trade_num"].to_numpy() > 0
    if delivered_ms is not None and not np.any(traded & (opens >= delivered_ms)):  # with trades, the name is used again
        if phantoms := int(np.count_nonzero(keep & (opens >= delivered_ms))):
            day = from_ms(delivered_ms)
            notes.append(f"{phantoms} rows after the delivery on {day:%Y-%m-%d %H:%M} are left out")
        keep &= opens < delivered_ms
    if note := _flat_end(opens[keep], traded[keep], interval):
        notes.append(note)
    candles = _candles(table, symbol, opens)
    if not keep.all():
        candles, opens = candles.filter(pa.array(keep)), opens[keep]
    if np.any(np.diff(opens) <= 0):
        candles = _each_once(candles, opens, what)
        notes.append("its rows were not in order, or twice there")
    return Parsed(candles, tuple(notes))


def _flat_end(opens: npt.NDArray[np.int64], traded: npt.NDArray[np.bool_], interval: Interval) -> str | None:
    """A note when a day or more at the end of a file has no trades: its symbol may have been delisted."""
    last_ms = int(np.max(opens[traded], initial=0))
    flat = int(np.count_nonzero(opens > last_ms))
    if flat < 2 or flat * interval.length_ms < DAY_MS:
        return None
    since = f"after {from_ms(last_ms):%Y-%m-%d %H:%M} " if last_ms else ""
    return f"its {flat} rows {since}have no trades: was it delisted? (see flat_tails in SQL)"


def _nexts(opens: npt.NDArray[np.int64], interval: Interval) -> npt.NDArray[np.int64]:
    if interval.name == "1M":
        return np.array([interval.next(interval.floor(open_ms)) for open_ms in opens.tolist()], np.int64)
    return opens + interval.length_ms


def _on_grid(opens: npt.NDArray[np.int64], interval: Interval) -> npt.NDArray[np.bool_]:
    if interval.name == "1M":
        return np.array([interval.on_grid(open_ms) for open_ms in opens.tolist()], np.bool_)
    on_grid: npt.NDArray[np.bool_] = (opens - interval.anchor_ms) % interval.length_ms == 0
    return on_grid


def _candles(table: pa.Table, symbol: str, opens: npt.NDArray[np.int64]) -> pa.Table:
    rows = len(opens)
    return pa.table(
        [
            pa.repeat(pa.scalar(symbol, pa.string()), rows),
            pa.array(opens * 1000, pa.int64()).view(_TIME),
            *(table[name] for name in _VALUES),
            pa.repeat(pa.scalar(str(Source.ARCHIVE)), rows),
            pa.repeat(pa.scalar(0, pa.int64()), rows).view(_TIME),
        ],
        schema=CANDLE_SCHEMA,
    )


def _each_once(candles: pa.Table, opens: npt.NDArray[np.int64], what: str) -> pa.Table:
    """The rows in order of time; of equal ones the first. Raises Malformed where two of a time differ."""
    candles = candles.take(pa.array(np.argsort(opens, kind="stable")))
    times = np.sort(opens)
    again = np.flatnonzero(np.diff(times) == 0) + 1
    if len(again) and not candles.take(pa.array(again)).equals(candles.take(pa.array(again - 1))):
        stray = from_ms(int(times[again[0]]))
        raise Malformed(f"{what}: two rows of {stray:%Y-%m-%d %H:%M} differ.")
    keep = np.ones(len(times), np.bool_)
    keep[again] = False
    return candles.filter(pa.array(keep))


def parse_funding(data: bytes, *, symbol: str, what: str) -> Parsed:
    """The settled fundings in a file's text, as the table `funding_rates` has them. Raises Malformed."""
    if _ends_after(data, -1):
        return Parsed(FUNDING_SCHEMA.empty_table(), ("it is empty",))
    table = _read(data, _FUNDING, _FUNDING, what)
    times = _milliseconds(table["calc_time"]) if table.num_rows else np.empty(0, np.int64)
    rows = len(times)
    found = pa.table(
        [
            pa.repeat(pa.scalar(symbol, pa.string()), rows),
            pa.array(times * 1000, pa.int64()).view(_TIME),
            pa.repeat(pa.scalar("Regular"), rows),
            table["last_funding_rate"],
            pa.nulls(rows, pa.float64()),
        ],
        schema=FUNDING_SCHEMA,
    )
    _, first = np.unique(times, return_index=True)
    return Parsed(found.take(pa.array(first)))


def stamped(table: pa.Table, recorded_at_ms: int) -> pa.Table:
    """Candles with their `recorded_at` set."""
    stamps = pa.repeat(pa.scalar(1000 * recorded_at_ms, pa.int64()), table.num_rows).view(_TIME)
    return table.set_column(table.num_columns - 1, CANDLE_SCHEMA.field("recorded_at"), stamps)
