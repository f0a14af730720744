"""What is asked for factors: candles and fundings, with their places on a grid of bars. Nothing is computed there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bmacdb.clock import from_ms
from bmacdb.factors.columns import CANDLE_COLUMNS
from bmacdb.factors.statement import SETTLED_S, stamp
from bmacdb.interval import Interval

__all__ = [
    "Range",
    "cells_statement",
    "fundings_statement",
    "quote",
    "rows_statement",
    "there_statement",
]


def quote(text: str) -> str:
    """A text as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"


@dataclass(frozen=True, slots=True)
class Range:
    """Which bars: those of `interval` that opened in [first_ms, last_ms], of `symbols` (all when None), in `schema`.

    `schema` is an identifier that was checked; the bars before `first_ms` that factors look back at come on top.
    """

    schema: str
    interval: Interval
    first_ms: int
    last_ms: int
    symbols: tuple[str, ...] | None = None

    @property
    def several(self) -> bool:
        """Whether it is of more than one bar."""
        return self.first_ms != self.last_ms

    def until(self) -> str:
        """When the last bar closes, as a SQL literal."""
        return stamp(self.interval.next(self.last_ms))

    def grid(self, lookback: int) -> tuple[int, int, int]:
        """(open time of the first bar read, end, number of bars) with `lookback` bars up to the first."""
        start = self.interval.shift(self.first_ms, 1 - lookback)
        end = self.interval.next(self.last_ms)
        return start, end, lookback - 1 + self.interval.count(self.first_ms, end)

    def where(self, start: int, end: int, *, symbols: bool = True) -> str:
        text = f"open_time >= {stamp(start)} AND open_time < {stamp(end)}"
        return text + (self.only() if symbols else "")

    def only(self, column: str = "symbol") -> str:
        if self.symbols is None:
            return ""
        return f" AND {column} IN ({', '.join(map(quote, self.symbols)) or 'NULL'})"

    def table(self, name: str) -> str:
        return f'"{self.schema}".{name}'

    def place(self, lookback: int, time: str) -> str:
        """SQL for the place on the grid of `lookback`, from 0, of the bar that the instant `time` lies in."""
        start, end, total = self.grid(lookback)
        ahead = total - self.interval.count(start, end)  # places before 1970, where there is nothing to read
        if self.interval.name == "1M":
            opened = from_ms(start)
            month = f"{time} AT TIME ZONE 'UTC'"
            return f"(year({month}) * 12 + month({month}) - {opened.year * 12 + opened.month - ahead})::BIGINT"
        return f"(epoch_ms({time}) - {start}) // {self.interval.length_ms}" + (f" + {ahead}" if ahead else "")


def rows_statement(span: Range, *, between: tuple[str, str], lookback: int = 1) -> str:
    """The candles of the symbols from `between[0]` to `between[1]`, in no order, with `lookback` bars up to the first.

    Columns: symbol, k (place on the grid), the candle columns as DOUBLE.
    """
    start, end, _ = span.grid(lookback)
    low, high = map(quote, between)
    return (
        f"SELECT symbol, ({span.place(lookback, 'open_time')})::INTEGER AS k, {_doubles(CANDLE_COLUMNS)} "
        f"FROM {span.table('candles')} WHERE {span.where(start, end)} AND symbol >= {low} AND symbol <= {high}"
    )


def _cells(symbols: Sequence[str], place: str, columns: str, table: str, where: str) -> str:
    """Columns: cell, then `columns`, of a candle or funding that lies at `place` of a grid (bars, symbols).

    A number instead of a text and a place is a third less to send, and nothing has to be sorted then.
    """
    names = f"string_split({quote(','.join(symbols))}, ',')"  # the guard looks at each literal
    numbers = f"(SELECT unnest({names}) AS symbol, unnest(range({len(symbols)})) AS number)"
    cell = f"(({place}) * {len(symbols)} + number)::INTEGER"
    return f"SELECT {cell} AS cell, {columns} FROM {table} JOIN {numbers} AS numbers USING (symbol) WHERE {where}"


def there_statement(span: Range, lookback: int = 1) -> str:
    """The symbols that have a candle in the range, or in the look-back before it, in order.

    Where it is of one bar, without a look-back, with the candle's columns too.
    """
    start, end, _ = span.grid(lookback)
    chosen = f"symbol, {_doubles(CANDLE_COLUMNS)}" if lookback == 1 and not span.several else "DISTINCT symbol"
    return f"SELECT {chosen} FROM {span.table('candles')} WHERE {span.where(start, end)} ORDER BY symbol"


def cells_statement(span: Range, symbols: Sequence[str], lookback: int, columns: Iterable[str]) -> str:
    """The candles of the grid, in no order, with `lookback` bars up to the first: cell, `columns` as DOUBLE."""
    start, end, _ = span.grid(lookback)
    where = span.where(start, end, symbols=False)
    return _cells(symbols, span.place(lookback, "open_time"), _doubles(columns), span.table("candles"), where)


def _doubles(columns: Iterable[str]) -> str:
    return ", ".join(f"{name}::DOUBLE AS {name}" for name in columns)


def fundings_statement(span: Range, symbols: Sequence[str], lookback: int) -> str:
    """The fundings that count within the bars of the grid: cell, funding_rate, funding_sum, funding_count as DOUBLE."""
    start, end, _ = span.grid(lookback)
    # The recorder asks for a settlement some time after it: live values could not be those of research if it counted
    # sooner. (The stamp itself is some milliseconds late.)
    settled = f"date_trunc('second', funding_time) + INTERVAL {SETTLED_S} SECOND"
    where = f"{settled} >= {stamp(start)} AND {settled} < {stamp(end)}"
    columns = "funding_rate, funding_time, rate_type"
    each = _cells(symbols, span.place(lookback, settled), columns, span.table("funding_rates"), where)
    return (
        "SELECT cell, rates[-1]::DOUBLE AS funding_rate, list_sum(rates)::DOUBLE AS funding_sum,"
        " len(rates)::DOUBLE AS funding_count FROM (SELECT cell, list(funding_rate ORDER BY funding_time, rate_type)"
        f" AS rates FROM ({each}) GROUP BY cell)"
    )
