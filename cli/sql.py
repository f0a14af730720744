"""`bmacdb sql`: one query, or a shell on the database, live or at rest."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bmacdb.store.reader import Reader
    from bmacdb.store.sidefile import Live

__all__ = ["find_shell", "init_script", "register", "sql"]

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
) -> None:
    """Ask the database, whether a recorder has it open or not.

    Tables are `candles`, `run_status`, `runs`, `exginfo`, `funding_rates`, `gaps` … with a column `feed`, or those of
    one feed as `usdt_perp_5m.candles`; views are `latest_candles`, `readiness`, `latency`, `coverage`.
    """
    if query is None and sys.stdin.isatty():
        raise typer.Exit(_shell(db))
    from bmacdb.cli.output import check_output, emit
    from bmacdb.store.reader import connect

    check_output(format, output)
    text = sys.stdin.read() if query in (None, "-") else query
    assert text is not None
    if not text.strip():
        return  # nothing was asked
    with connect(db) as reader:
        table = reader.sql(text, timeout=_UNTIL_CTRL_C if timeout is None else timeout).arrow()
    emit(table, format, output)


def _shell(db: Path) -> int:
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
            return _prompt(reader)
    if live is None:
        return _run([shell, "-readonly", str(db)])
    with _private_file(init_script(live)) as init:
        return _run([shell, "-init", str(init)])


def find_shell() -> str | None:
    """The DuckDB shell: the one of the package duckdb-cli, which has the right version, else the one on PATH."""
    name = "duckdb.exe" if os.name == "nt" else "duckdb"
    spec = find_spec("duckdb_cli")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        if (file := Path(folder) / name).is_file():
            return str(file)
    return shutil.which(name)


def init_script(live: Live) -> str:
    """What a shell runs to attach the live database, from a file: no process list shows the token."""
    from bmacdb.store.extensions import extension_file

    lines = []
    for name in ("httpfs", "quack"):
        file = extension_file(name)
        lines.append(f"LOAD {name};" if file is None else f"LOAD '{str(file).replace(chr(39), chr(39) * 2)}';")
    lines += [
        f"ATTACH '{live.uri}' AS db (TYPE quack, TOKEN '{live.token}');",
        "CREATE MACRO memory.main.ask(query) AS TABLE FROM quack_query_by_name('db', query);",
        "SET TimeZone = 'UTC';",
        "USE db;",
        f".print 'Attached to {live.uri}, where the recorder lives; read-only.'",
        ".print 'FROM memory.ask($$ SELECT … $$) runs at the recorder; FROM candles fetches the table first.'",
        ".print 'FROM memory.ask($$ SHOW ALL TABLES $$) tells what there is.'",
    ]
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def _private_file(text: str) -> Iterator[Path]:
    handle, name = tempfile.mkstemp(prefix="bmacdb-", suffix=".sql")  # readable by its owner alone
    path = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        yield path
    finally:
        path.unlink(missing_ok=True)


def _run(command: list[str]) -> int:
    with subprocess.Popen(command) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue  # it is for the shell, which stops its query


def _prompt(reader: Reader) -> int:
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
            emit(reader.sql("\n".join(lines), timeout=_UNTIL_CTRL_C).arrow())
        except BmacdbError as error:
            print(f"Error: {error}", file=sys.stderr)
        except KeyboardInterrupt:
            print()
        lines.clear()


def register(app: typer.Typer) -> None:
    app.command()(sql)
