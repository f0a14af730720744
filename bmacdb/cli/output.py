"""How results leave: one table to stdout or to a file, in the format that was asked for."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from bmacdb.errors import Unwritable, UsageError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FORMATS", "check_output", "emit"]

FORMATS = ("table", "csv", "json", "parquet", "arrow")
"""`table` is for eyes; `json` is one array of objects; `arrow` is an IPC file with -o, an IPC stream in a pipe."""

_TERMINAL_ROWS = 1000  # of a table for eyes; files and pipes get all of it

_BINARY = frozenset({"parquet", "arrow"})


def check_output(format: str, output: Path | None) -> None:
    """Refuse, before any work is done, a format or a file that cannot be written. Raises UsageError."""
    if format not in FORMATS:
        raise UsageError(f"--format {format!r} is not one of {', '.join(FORMATS)}.{did_you_mean(format, FORMATS)}")
    if output is None:
        if format in _BINARY and sys.stdout.isatty():
            raise UsageError(f"--format {format} is not for a terminal: give -o FILE, or pipe it into a program.")
    elif output.is_dir():
        raise UsageError(f"-o {output} is a directory: name a file in it, as {output / f'result.{format}'}.")
    elif not output.parent.is_dir():
        raise UsageError(f"-o {output}: directory {output.parent} does not exist. Create it first.")


def emit(
    tables: pa.Table | Iterable[pa.Table],
    format: str = "table",
    output: Path | None = None,
    *,
    zone: tzinfo | None = UTC,
) -> None:
    """Write a table, or the pieces of one (at least one piece), to `output` (stdout when None). A file appears whole or
    not at all.

    Times are ISO 8601 with their offset, in `zone` (the machine's when None) in tables for eyes and in UTC in all other
    formats. Raises UsageError as `check_output` does, Unwritable when the disk refuses.
    """
    import pyarrow as pa

    check_output(format, output)
    pieces = iter([tables] if isinstance(tables, pa.Table) else tables)
    first = next(pieces)  # what fails here has touched no file
    if output is None and format == "table":
        _print_table(pa.concat_tables([first, *pieces]), zone)
    elif output is not None:
        with _replacing(output) as sink:
            _write(chain([first], pieces), first.schema, format, sink, zone, to_file=True)
    else:
        sys.stdout.flush()
        # Bytes, so that names in Chinese survive whatever encoding the console has.
        _write(chain([first], pieces), first.schema, format, sys.stdout.buffer, zone, to_file=False)
        sys.stdout.buffer.flush()


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file under a temporary name beside `path` that takes its place at the end."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as sink:
            yield sink
        temporary.replace(path)
    except OSError as exc:
        raise Unwritable(f"{path} cannot be written: {exc.strerror or exc}.") from exc
    finally:
        temporary.unlink(missing_ok=True)


def _write(
    pieces: Iterable[pa.Table], schema: pa.Schema, format: str, sink: IO[bytes], zone: tzinfo | None, *, to_file: bool
) -> None:
    import pyarrow as pa

    if format == "table":
        sink.write("".join(line + "\n" for line in _aligned(pa.concat_tables(pieces), zone)).encode())
    elif format == "csv":
        for number, piece in enumerate(pieces):
            _write_csv(piece, sink, head=number == 0)
    elif format == "json":
        _write_json(pieces, sink)
    elif format == "parquet":
        import pyarrow.parquet as pq

        with pq.ParquetWriter(sink, schema) as writer:
            for piece in pieces:
                writer.write_table(piece)
    else:
        opened = pa.ipc.new_file if to_file else pa.ipc.new_stream
        with opened(sink, schema) as writer:
            for piece in pieces:
                writer.write_table(piece)


def _write_csv(table: pa.Table, sink: IO[bytes], *, head: bool) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv as pacsv

    columns = []
    for column in table.columns:
        plain = pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_string
        if not any(kind(column.type) for kind in plain):
            texts = [None if value is None else _text(_plain(value)) for value in column.to_pylist()]
            column = pa.array(texts, pa.string())
        columns.append(column)
    flat = pa.table(columns, names=table.column_names)
    # "needed" would quote every text, to tell an empty one from null; plain names are easier on other tools.
    special = any(pc.any(pc.match_substring_regex(c, '[",\r\n]|^$')).as_py() for c in columns if c.type == pa.string())
    quoted = any(re.search('[",\r\n]', name) for name in table.column_names)
    options = pacsv.WriteOptions(
        include_header=head,
        quoting_style="needed" if special else "none",
        quoting_header="needed" if quoted else "none",
    )
    pacsv.write_csv(flat, sink, options)


def _write_json(pieces: Iterable[pa.Table], sink: IO[bytes]) -> None:
    sink.write(b"[")
    separator = b"\n"
    for batch in (batch for table in pieces for batch in table.to_batches(max_chunksize=10_000)):
        for row in batch.to_pylist():
            plain = {name: _plain(value) for name, value in row.items()}
            sink.write(separator + json.dumps(plain, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace"))
            separator = b",\n"
    sink.write(b"\n]\n")


def _plain(value: Any) -> Any:
    """A value as JSON knows it: times as ISO text in UTC, what is no number as null."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case datetime():
            return (value.astimezone(UTC) if value.tzinfo else value).isoformat()
        case date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Decimal():
            return float(value)
        case bytes():
            return value.hex()
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return value if isinstance(value, str | int | bool | None) else str(value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _cell(value: Any, zone: tzinfo | None) -> str:
    """A value for eyes: one line, no more digits than mean something."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.10g}"
        case Decimal():
            return f"{value.normalize():f}"
        case datetime():
            shown = value.astimezone(zone) if value.tzinfo else value
            return shown.isoformat(sep=" ", timespec="milliseconds" if shown.microsecond else "seconds")
        case list():
            return ", ".join(_cell(item, zone) for item in value)
        case _:
            text = value if isinstance(value, str) else _text(_plain(value))
            return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def _columns(table: pa.Table, zone: tzinfo | None) -> tuple[list[list[str]], list[bool]]:
    import pyarrow as pa

    cells = [[_cell(value, zone) for value in column.to_pylist()] for column in table.columns]
    kinds = pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal
    return cells, [any(kind(column.type) for kind in kinds) for column in table.columns]


def _aligned(table: pa.Table, zone: tzinfo | None) -> Iterator[str]:
    from rich.cells import cell_len  # a Chinese sign is two columns wide

    columns, right = _columns(table, zone)
    widths = [max(map(cell_len, [name, *cells])) for name, cells in zip(table.column_names, columns, strict=True)]

    def line(cells: list[str]) -> str:
        parts = []
        for cell, width, to_right in zip(cells, widths, right, strict=True):
            pad = " " * (width - cell_len(cell))
            parts.append(pad + cell if to_right else cell + pad)
        return "  ".join(parts).rstrip()

    yield line(list(table.column_names))
    for row in zip(*columns, strict=True):
        yield line(list(row))


def _print_table(table: pa.Table, zone: tzinfo | None) -> None:
    if not sys.stdout.isatty():
        _print_aligned(table, zone)
        return
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    more = table.num_rows - _TERMINAL_ROWS
    table = table.slice(0, _TERMINAL_ROWS)
    columns, right = _columns(table, zone)
    shown = Table(header_style="bold")
    for name, to_right in zip(table.column_names, right, strict=True):
        shown.add_column(Text(name), justify="right" if to_right else "left", no_wrap=True)
    for row in zip(*columns, strict=True):
        shown.add_row(*map(Text, row))
    console = Console(file=sys.stdout)
    if Measurement.get(console, console.options.update(max_width=100_000), shown).maximum > console.width:
        _print_aligned(table, zone)  # whole cells that the terminal folds are better than cut ones
    else:
        console.print(shown)
    if more > 0:
        print(f"… and {more} more rows: ask for fewer, or give -o FILE or a pipe.", file=sys.stderr)


def _print_aligned(table: pa.Table, zone: tzinfo | None) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    for line in _aligned(table, zone):
        sys.stdout.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    sys.stdout.flush()
