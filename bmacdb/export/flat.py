"""A table of a feed as one file, or one for each symbol: parquet or csv, read and written a piece at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from bmacdb.errors import UsageError, did_you_mean
from bmacdb.export.bmac import Ask
from bmacdb.export.files import replacing
from bmacdb.sql import queries
from bmacdb.store.schema import quoted

__all__ = ["FORMATS", "TABLES", "FlatExport"]

FORMATS = ("parquet", "csv")

TABLES: dict[str, tuple[str, str]] = {
    "candles": ("open_time", "symbol"),
    "funding_rates": ("funding_time", "symbol"),
    "funding_snapshots": ("run_time", "symbol"),
    "exginfo": ("valid_from", "symbol"),
    "run_status": ("run_time", "item"),
    "runs": ("run_time", ""),
    "gaps": ("gap_start", "symbol"),
    "corrections": ("noticed_at", "symbol"),
}
"""Each table of a feed with its time and the column that names symbols."""

_PIECE_ROWS = 50_000  # sorted at the recorder, in the memory that it has for all queries
_Write = Callable[[pa.Table], None]


@dataclass(frozen=True, slots=True)
class FlatExport:
    """What is exported: rows of `table` in `feed` whose time lies in [start, end), of `symbols` where given."""

    ask: Ask
    feed: str
    table: str = "candles"
    symbols: Collection[str] | None = None
    start_ms: int | None = None
    end_ms: int | None = None

    def count(self) -> int:
        """How many rows there are."""
        where, params = self._where(self.symbols)
        return int(self.ask(f"SELECT count(*) FROM {self._place()} WHERE {where}", params)[0][0].as_py())

    def to_file(self, path: Path, format: str = "parquet") -> int:
        """Write one file, whole or not at all, in the order of time; returns its rows. Raises Unwritable."""
        return self._write(path, format, self.symbols)

    def to_folder(self, folder: Path, format: str = "parquet") -> dict[str, int]:
        """Write a file for each symbol, named after it; returns the rows of each. Raises Unwritable."""
        name = self._columns()[1]
        if not name:
            raise UsageError(f"table {self.table} has no symbols: export it as one file.")
        where, params = self._where(self.symbols)
        found = self.ask(f"SELECT DISTINCT {name} FROM {self._place()} WHERE {where} ORDER BY 1", params)
        return {
            symbol: self._write(folder / f"{symbol}.{format}", format, (symbol,))
            for symbol in found.column(0).to_pylist()
        }

    def _columns(self) -> tuple[str, str]:
        if self.table not in TABLES:
            raise UsageError(
                f"table {self.table!r} is not one of {', '.join(TABLES)}.{did_you_mean(self.table, TABLES)}"
            )
        return TABLES[self.table]

    def _place(self) -> str:
        return f"{quoted(self.feed)}.{self.table}"

    def _where(self, symbols: Collection[str] | None) -> tuple[str, dict[str, object]]:
        time, name = self._columns()
        parts = ["true"]
        params: dict[str, object] = {}
        if symbols is not None and name:
            parts.append(f"list_contains($symbols::VARCHAR[], {name})")
            params["symbols"] = list(symbols)
        for key, sign, value in (("start", ">=", self.start_ms), ("end", "<", self.end_ms)):
            if value is not None:
                parts.append(f"{time} {sign} make_timestamptz(1000 * ${key})")
                params[key] = value
        return " AND ".join(parts), params

    def _write(self, path: Path, format: str, symbols: Collection[str] | None) -> int:
        if format not in FORMATS:
            raise UsageError(f"--format {format!r} is not one of {', '.join(FORMATS)}.{did_you_mean(format, FORMATS)}")
        rows = 0
        opened = _parquet if format == "parquet" else _csv
        with replacing(path) as sink:
            writer: AbstractContextManager[_Write] | None = None
            write: _Write | None = None
            try:
                for piece in self._pieces(symbols):
                    if writer is None or write is None:
                        writer = opened(sink, piece.schema)
                        write = writer.__enter__()
                    write(piece)
                    rows += piece.num_rows
            finally:
                if writer is not None:
                    writer.__exit__(None, None, None)
        return rows

    def _pieces(self, symbols: Collection[str] | None) -> Iterator[pa.Table]:
        """The rows in the order of time; at least one table, which may be empty."""
        time, name = self._columns()
        where, params = self._where(symbols)

        def answer(query: str, where: str, params: dict[str, object]) -> pa.Table:
            text = queries("export")[query].sql.replace("feed.", f"{quoted(self.feed)}.")
            order = ", ".join(part for part in (time, name) if part)
            return self.ask(text.format(time=time, table=self.table, where=where, order=order), params)

        first, last, count = (column[0].as_py() for column in answer("span", where, params).columns)
        if not count:
            yield answer("rows", where, params)
            return
        step = max(1, -(-(last - first + 1) * _PIECE_ROWS // count))
        for begin in range(first, last + 1, step):
            bounded = f"{where} AND {time} >= make_timestamptz(1000 * $a) AND {time} < make_timestamptz(1000 * $b)"
            yield answer("rows", bounded, params | {"a": begin, "b": begin + step})


@contextmanager
def _parquet(sink: IO[bytes], schema: pa.Schema) -> Iterator[_Write]:
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        yield writer.write_table


@contextmanager
def _csv(sink: IO[bytes], schema: pa.Schema) -> Iterator[_Write]:
    flat = _flat(schema.empty_table()).schema
    # Names and times never need quotes, and are easier on other tools without; free text may.
    plain = {"symbol", "item", "source"} | {field.name for field in schema if not pa.types.is_string(field.type)}
    safe = plain.issuperset(schema.names) and not any(pa.types.is_nested(field.type) for field in schema)
    options = pacsv.WriteOptions(quoting_style="none" if safe else "needed", quoting_header="none")
    with pacsv.CSVWriter(sink, flat, write_options=options) as writer:
        yield lambda table: writer.write_table(_flat(table))


def _flat(table: pa.Table) -> pa.Table:
    """Columns as csv has them: times as ISO texts in UTC, lists and structs as JSON."""
    columns = []
    for field, column in zip(table.schema, table.columns, strict=True):
        if pa.types.is_timestamp(field.type):
            column = pc.strftime(column.cast(pa.timestamp("ms", "UTC")), format="%Y-%m-%dT%H:%M:%S+00:00")
        elif pa.types.is_nested(field.type):
            column = pa.chunked_array([[_json(value) for value in column.to_pylist()]], pa.string())
        elif pa.types.is_decimal(field.type):
            texts = [None if value is None else f"{value.normalize():f}" for value in column.to_pylist()]
            column = pa.chunked_array([texts], pa.string())
        columns.append(column)
    return pa.table(columns, names=table.column_names)


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)
