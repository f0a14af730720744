"""`bmacdb factors`: the factors of the whole market at a run time, live or of the past."""

from __future__ import annotations

import os
import sys
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bmacdb.cli.times import Timezone, printing_zone
from bmacdb.errors import ConfigError, UsageError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

    from bmacdb.factors.library import Library
    from bmacdb.kit import CandleReader
    from bmacdb.kit.market import Market

__all__ = ["factors", "register"]

_CONFIG = "bmacdb.toml"


def factors(
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR",
            help="Where the database, bmacdb.toml and your own factors are [default: the working directory].",
            show_default=False,
        ),
    ] = None,
    run_time: Annotated[
        str,
        typer.Option(metavar="TIME", help="`latest` (complete) or an ISO time, in UTC where it names no zone."),
    ] = "latest",
    chosen: Annotated[
        list[str] | None,
        typer.Option(
            "--factor", metavar="NAME:PARAM", help="As PctChg:100; may repeat [default: those of bmacdb.toml]."
        ),
    ] = None,
    symbols: Annotated[
        list[str] | None, typer.Option("--symbol", metavar="NAME", help="Only these; may repeat [default: all].")
    ] = None,
    feed: Annotated[
        str | None, typer.Option(metavar="NAME", help="As usdt_perp_5m; needed where the database holds several.")
    ] = None,
    db: Annotated[Path | None, typer.Option(metavar="FILE", help="The database [default: bmac.duckdb in DIR].")] = None,
    package: Annotated[
        str | None, typer.Option(metavar="NAME", help="Your own factors, in DIR, before the bundled [default: factor].")
    ] = None,
    sort: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Largest first, as --sort PctChg_100 [default: by symbol].")
    ] = None,
    ascending: Annotated[bool, typer.Option("--ascending", help="With --sort: smallest first.")] = False,
    top: Annotated[int | None, typer.Option(metavar="N", min=1, help="Only the first N rows.")] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="At every run time, as soon as the market is complete, until Ctrl-C.")
    ] = False,
    periods: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="With --watch: end after N run times.")
    ] = None,
    expire_sec: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="With --watch: how long to wait for late symbols.")
    ] = 40.0,
    listed: Annotated[
        bool, typer.Option("--list", help="Describe the factors there are (--factor: that one).")
    ] = False,
    sql: Annotated[
        str | None,
        typer.Option(
            "--sql", metavar="NAME:PARAM", help="Print the statement of a factor in SQL, for any DuckDB shell."
        ),
    ] = None,
    format: Annotated[str, typer.Option(metavar="NAME", help="table, csv, json, parquet or arrow.")] = "table",
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write there.")] = None,
    timezone: Timezone = None,
) -> None:
    """Factors of the whole market at a run time.

    `bmacdb factors --factor PctChg:100 --factor TrdNumMeanV1:80 --sort PctChg_100 --top 20`
    """
    from bmacdb.cli.output import check_output

    check_output(format, output)
    home = directory or Path()
    if not home.is_dir():
        raise UsageError(f"directory {home} does not exist.")
    config = _read_config(home)
    # The user's package lies beside the user's code, as it does for a strategy started there.
    sys.path.insert(0, str(home.resolve()))
    from bmacdb.factors.library import Library
    from bmacdb.kit.times import run_time_ms

    library = Library(package or config.package)
    if listed:
        _list(library, chosen, format, output)
        return
    if sql is not None:
        bounds = library.plan([sql]).sql
        if not bounds:
            raise UsageError(f"factor {sql} is a Python module: it has no SQL.")
        from bmacdb.factors.statement import statement
        from bmacdb.kit import CandleReader

        with CandleReader(_database(home, db, config), feed or config.feed) as reader:
            source = reader.source
            _check(reader, symbols)
            last = source.interval.shift(run_time_ms(_moment(run_time, reader), source.interval), -1)
            print(f"{statement(bounds[-1], source.schema, source.interval, last, last, symbols)};")
        return
    wanted: list[object] = [*chosen] if chosen else [*config.factors]
    if not wanted:
        raise UsageError(
            f'no factor was asked for: give --factor PctChg:100, or write factors = ["PctChg:100"] below [factors] in '
            f"{home / _CONFIG}. `bmacdb factors --list` shows what there is."
        )
    from bmacdb.kit import CandleReader
    from bmacdb.kit.market import Market

    plan = library.plan(wanted)
    if sort is not None and sort not in (known := ["symbol", "close", *plan.columns]):
        raise UsageError(f"--sort {sort!r} is not one of {', '.join(known)}.{did_you_mean(sort, known)}")
    path = _database(home, db, config)
    zone = printing_zone(timezone, home)
    with CandleReader(path, feed or config.feed) as reader:
        _check(reader, symbols)
        market = Market(reader.source, plan, symbols, zone)
        shape = _Shape(sort, ascending, top, format, output, zone)
        if watch:
            _watch(market, shape, periods, expire_sec)
        else:
            result = market.at(_moment(run_time, reader))
            shape.emit(result.table)
            _tell(result)
            if result.failures:
                raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    app.command()(factors)


@dataclass(frozen=True, slots=True)
class _Config:
    """What `bmacdb.toml` says below [factors], and its `db`."""

    factors: tuple[object, ...] = ()
    package: str = "factor"
    feed: str | None = None
    db: Path | None = None


def _read_config(home: Path) -> _Config:
    path = home / _CONFIG
    if not path.is_file():
        return _Config()
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise ConfigError(str(path), f"it cannot be read: {exc}.") from exc
    section: Any = found.get("factors", {})
    if not isinstance(section, dict):
        raise ConfigError(f"{path}, [factors]", 'it must be a table, with factors = ["PctChg:100"].')
    known = {"factors": list, "package": str, "feed": str}
    for name, value in section.items():
        if name not in known:
            raise ConfigError(f"{path}, [factors]", f"there is no such setting {name!r}.{did_you_mean(name, known)}")
        if not isinstance(value, known[name]):
            raise ConfigError(f"{path}, [factors]", f"{name} is {value!r}; it must be a {known[name].__name__}.")
    db = found.get("db")
    return _Config(
        tuple(section.get("factors", ())),
        section.get("package", "factor"),
        section.get("feed"),
        home / db if isinstance(db, str) else None,
    )


def _database(home: Path, db: Path | None, config: _Config) -> Path:
    if db is not None:
        return db
    named = os.environ.get("BMACDB_DB", "")
    return Path(named) if named else config.db or home / "bmac.duckdb"


def _check(reader: CandleReader, symbols: list[str] | None) -> None:
    """Raises UsageError for symbols that the feed never had, with the nearest names."""
    from bmacdb.store.reader import Reader

    connection = reader.source.connection
    if symbols and isinstance(connection, Reader):
        connection.check_symbols(symbols, reader.source.schema)


def _moment(text: str, reader: CandleReader) -> datetime:
    """The run time asked for. Raises UsageError."""
    from bmacdb.clock import from_ms

    if text == "latest":
        return from_ms(reader.source.latest_run_time_ms())
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"--run-time {text!r} is neither `latest` nor an ISO time, as 2024-08-03T12:50:00+08:00 is."
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Shape:
    """How a table leaves."""

    sort: str | None
    ascending: bool
    top: int | None
    format: str
    output: Path | None
    zone: tzinfo | None

    def emit(self, table: pa.Table) -> None:
        import pyarrow.compute as pc

        from bmacdb.cli.output import emit

        if self.sort is not None:
            order = "ascending" if self.ascending else "descending"
            keys = [(self.sort, order), ("symbol", "ascending")][: 1 if self.sort == "symbol" else 2]
            table = table.take(pc.sort_indices(table, sort_keys=keys))
        emit(table if self.top is None else table.slice(0, self.top), self.format, self.output, zone=self.zone)


def _watch(market: Market, shape: _Shape, periods: int | None, expire_sec: float) -> None:
    for result in islice(market.watch(expire_sec), periods):
        shape.emit(result.table)
        _tell(result)


def _tell(result: Any) -> None:
    for line in result.told:
        print(line, file=sys.stderr, flush=True)


def _list(library: Library, chosen: list[str] | None, format: str, output: Path | None) -> None:
    import pyarrow as pa

    from bmacdb.cli.output import emit
    from bmacdb.factors.call import parse_call
    from bmacdb.kit.market import describe

    names = [parse_call(text).name for text in chosen] if chosen else library.names()
    rows = [describe(library, name) for name in names]
    if format == "table" and not chosen:  # what fits beside each other; the rest by name, or in the other formats
        ways = ["way"] if any(row["way"] for row in rows) else []
        keys = ["factor", "parameters", "look_back", "form", *ways, "description"]
        rows = [{key: row[key] for key in keys} | {key: row[key].partition(":")[0] for key in ways} for row in rows]
    elif format == "table":
        rows = [{"factor": row["factor"], "": key, " ": value} for row in rows for key, value in row.items() if value]
    emit(pa.Table.from_pylist(rows), format, output)
