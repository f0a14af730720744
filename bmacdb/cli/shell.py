"""DuckDB's own shell on the database. At rest it opens the file; beside a recorder it has views and macros with the
recorder's names, which ask the recorder (`sql/shell.sql`)."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from bmacdb.sql import queries
from bmacdb.store.literals import literal
from bmacdb.store.schema import quoted

if TYPE_CHECKING:
    from bmacdb.store.reader import Reader
    from bmacdb.store.sidefile import Live

__all__ = ["attach_lines", "find_shell", "live_script", "open_shell"]

_KEYS = ("symbol", "open_time", "feed")  # the columns that a factor's macro may be asked for

_AT_REST = """SET TimeZone = 'UTC';
CREATE TEMP MACRO ask(statement) AS TABLE FROM query(statement);
"""


def find_shell() -> str | None:
    """The DuckDB shell: the one of the package duckdb-cli, which has the right version, else the one on PATH."""
    name = "duckdb.exe" if os.name == "nt" else "duckdb"
    spec = find_spec("duckdb_cli")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        if (file := Path(folder) / name).is_file():
            return str(file)
    return shutil.which(name)


def open_shell(shell: str, reader: Reader, live: Live | None, arguments: Sequence[str] = ()) -> int:
    """Run `shell` until its user leaves it; its exit status."""
    place = [str(reader.path)] if live is None else []
    script = _AT_REST if live is None else live_script(reader, live)
    with _private_file(script) as init:
        return _run([shell, *(["-readonly"] if live is None else []), "-init", str(init), *place, *arguments])


def attach_lines(live: Live) -> list[str]:
    """What makes the recorder known to a DuckDB: extensions, and the token for its address."""
    from bmacdb.store.extensions import extension_file

    files = {name: extension_file(name) for name in ("httpfs", "quack")}
    loads = [f"LOAD {name if file is None else literal(str(file))};" for name, file in files.items()]
    return [*loads, f"CREATE SECRET recorder (TYPE quack, TOKEN {literal(live.token)}, SCOPE {literal(live.uri)});"]


def live_script(reader: Reader, live: Live) -> str:
    """What a shell runs first beside a live recorder. It goes through a file: no process list shows the token."""
    tables: dict[tuple[str, str], list[str]] = {}
    for place, table, column in reader.sql(queries("reader")["layout"].sql):
        tables.setdefault((place, table), []).append(column)
    macros = reader.sql(queries("reader")["macros"].sql).rows()
    places = {place for place, _ in tables} | {place for place, *_ in macros}
    lines = [f".output {os.devnull}", *attach_lines(live), "SET TimeZone = 'UTC';", "CREATE SCHEMA shell;"]
    lines += [f"{query.sql};" for query in queries("shell").values()]
    lines.append(f"CREATE MACRO ask(statement) AS TABLE FROM quack_query({literal(live.uri)}, statement);")
    lines += [f"CREATE SCHEMA IF NOT EXISTS {quoted(place)};" for place in sorted(places)]

    def asking(place: str, name: str, source: str, columns: Sequence[str]) -> str:
        part = f"shell.part({literal(place)}, {literal(name)}, {source}, {literal(list(columns))}, current_query())"
        return f"FROM quack_query({literal(live.uri)}, {part})"

    for (place, table), columns in tables.items():
        name = f"{quoted(place)}.{quoted(table)}"
        lines.append(f"CREATE VIEW {name} AS {asking(place, table, literal(name), columns)};")
    for place, macro, kind, parameters, definition in macros:
        name = f"{quoted(place)}.{quoted(macro)}"
        if kind == "macro":
            lines.append(f"CREATE MACRO {name}({', '.join(map(quoted, parameters))}) AS {definition};")
            continue
        given = [f"{literal(one + ' := ')} || shell.literal({quoted(one)})" for one in parameters]
        passed = f"concat_ws(', ', {', '.join(given)})" if given else "''"
        source = f"{literal(name + '(')} || {passed} || ')'"
        head = ", ".join(f"{quoted(one)} := NULL" for one in parameters)
        lines.append(f"CREATE MACRO {name}({head}) AS TABLE {asking(place, macro, source, _KEYS)};")
    known = [f"{place}.{table}".lower() for place, table in tables]
    lines += [
        f"SET VARIABLE shell_tables = {literal(known)};",
        "SET VARIABLE shell_functions = (SELECT list(DISTINCT lower(function_name)) FROM duckdb_functions());",
        ".output",
        f".print 'At the recorder (process {live.pid}), read-only. SHOW ALL TABLES tells what there is.'",
        ".print 'WHERE on one table is applied at the recorder; FROM ask($$ SELECT … $$) runs whole there.'",
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
