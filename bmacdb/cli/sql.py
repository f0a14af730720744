"""`bmacdb sql`: one query, or a shell on the database, live or at rest."""

from __future__ import annotations

import sys
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bmacdb.cli.times import Timezone, printing_zone

if TYPE_CHECKING:
    from bmacdb.store.reader import Reader

__all__ = ["register", "sql"]

_UNTIL_CTRL_C = 366 * 86400.0  # with a timeout, waiting can be interrupted


def sql(
    query: Annotated[
        str | None,
        typer.Argument(metavar="QUERY", help="In DuckDB's SQL; '-' reads it from stdin; none opens a shell."),
    ] = None,
    db: Annotated[Path, typer.Option(metavar="FILE", help="The database.")] = Path("bmac.duckdb"),
    format: Annotated[str, typer.Option(metavar="NAME", help="table, csv, json, parquet or arrow.")] = "table",
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="[default: stdout]")] = None,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Wait no longer for it [default: until it comes]."),
    ] = None,
    timezone: Timezone = None,
) -> None:
    """Ask the database, whether a recorder has it open or not.

    Tables are `candles`, `run_status`, `runs`, `exginfo`, `funding_rates`, `gaps` … with a column `feed`, or those of
    one feed as `usdt_perp_5m.candles`; views are `latest_candles`, `readiness`, `latency`, `coverage`.
    """
    if query is None and sys.stdin.isatty():
        raise typer.Exit(_shell(db, timezone))
    from bmacdb.cli.output import check_output, emit
    from bmacdb.store.reader import connect

    check_output(format, output)
    zone = printing_zone(timezone, db.parent)
    text = sys.stdin.read() if query in (None, "-") else query
    assert text is not None
    if not text.strip():
        return  # nothing was asked
    with connect(db) as reader:
        table = reader.sql(text, timeout=_UNTIL_CTRL_C if timeout is None else timeout).arrow()
    emit(table, format, output, zone=zone)


def _shell(db: Path, timezone: str | None) -> int:
    from bmacdb.cli.shell import find_shell, open_shell
    from bmacdb.errors import NothingToRead
    from bmacdb.store import sidefile
    from bmacdb.store.reader import connect

    live = sidefile.find(db)
    if live is None and not db.exists():
        raise NothingToRead(f"{db} does not exist, and no recorder serves it: start one with bmacdb run, or give --db.")
    shell = find_shell()
    if shell is None:
        print(
            "The DuckDB shell is not installed (pip install 'bmacdb[shell]'); a plain prompt instead.", file=sys.stderr
        )
        with connect(db) as reader:
            return _prompt(reader, printing_zone(timezone, db.parent))
    with connect(db) as reader:
        return open_shell(shell, reader, live)


def _prompt(reader: Reader, zone: tzinfo | None) -> int:
    from bmacdb.cli.output import emit
    from bmacdb.errors import BmacdbError

    lines: list[str] = []
    while True:
        try:
            line = input("bmacdb> " if not lines else "   ...> ")
        except EOFError:
            print()
            return 0
        except KeyboardInterrupt:
            print()
            lines.clear()
            continue
        if not lines and line.strip() in {"", ".quit", ".exit", "exit", "quit"}:
            if line.strip():
                return 0
            continue
        lines.append(line)
        if not line.rstrip().endswith(";"):
            continue
        try:
            emit(reader.sql("\n".join(lines), timeout=_UNTIL_CTRL_C).arrow(), zone=zone)
        except BmacdbError as error:
            print(f"Error: {error}", file=sys.stderr)
        except KeyboardInterrupt:
            print()
        lines.clear()


def register(app: typer.Typer) -> None:
    app.command()(sql)
