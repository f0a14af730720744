"""`bmacdb demo`: recorder and stand-in exchange in one go, and what is in the file afterwards."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from datetime import tzinfo
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["demo", "register"]

_FEED = "usdt_perp_1m"
_SYMBOLS = 50
_PERIODS = 3
_SPEED = 12.0
_NUM_CANDLES = 500
_LIMIT_SECONDS = 180.0  # a demo that hangs is a demo that failed

_QUERY = """
SELECT symbol, open_time, close, round(100 * (close / lag_60 - 1), 2) AS change_1h_percent, volume, source
FROM (SELECT *, lag(close, 60) OVER (PARTITION BY symbol ORDER BY open_time) AS lag_60 FROM usdt_perp_1m.candles)
WHERE open_time = (SELECT max(open_time) FROM usdt_perp_1m.candles)
ORDER BY change_1h_percent DESC
LIMIT 10
"""


def demo(
    db: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Record into this file and keep it [default: a temporary one].")
    ] = None,
    keep_files: Annotated[bool, typer.Option("--keep-files", help="Keep the temporary directory.")] = False,
    alerts_for_real: Annotated[
        bool, typer.Option("--alerts-for-real", help="Send the alerts that are set, too [default: they are muted].")
    ] = False,
    speed: Annotated[float, typer.Option(hidden=True, min=1)] = _SPEED,
) -> None:
    """See it work, without the exchange: history, three run times and a query on the file, in under a minute."""
    from bmacdb.cli.rehearsal import rehearsing
    from bmacdb.cli.run import record_and_report
    from bmacdb.config import load_settings

    with ExitStack() as stack:
        if db is not None:
            path = db
        elif keep_files:
            path = Path(tempfile.mkdtemp(prefix="bmacdb-demo-")) / "bmac.duckdb"
        else:
            home = tempfile.TemporaryDirectory(prefix="bmacdb-demo-", ignore_cleanup_errors=True)
            path = Path(stack.enter_context(home)) / "bmac.duckdb"
        flags = {"feeds": (_FEED,), "db": path, "num_candles": _NUM_CANDLES, "periods": _PERIODS}
        settings = load_settings(path.parent, flags, environ={})
        _say(
            f"A stand-in exchange with {_SYMBOLS} perpetuals starts here; its clock runs {speed:g} times as fast.\n"
            f"The recorder is the real one: {_NUM_CANDLES} candles of history each, then {_PERIODS} run times.\n"
        )
        arguments = ("--symbols", str(_SYMBOLS))
        rehearsal = rehearsing(settings, speed=speed, arguments=arguments, alerts_for_real=alerts_for_real)
        outcome = record_and_report(stack.enter_context(rehearsal), limit_s=_LIMIT_SECONDS)
        if outcome.reason != "periods":
            raise typer.Exit(130 if outcome.reason == "SIGINT" else 1)
        _show(path, settings.timezone)
        kept = db is not None or keep_files
        _say(_next_steps(path if kept else None))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _show(path: Path, zone: tzinfo | None) -> None:
    """A query on the file, as any program could make it now."""
    import duckdb

    from bmacdb.cli.output import emit

    _say(f"\nThe file, asked with SQL:{_QUERY.rstrip()}\n")
    with duckdb.connect(str(path), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        emit(connection.execute(_QUERY).to_arrow_table(), zone=zone)


def _next_steps(kept: Path | None) -> str:
    steps = [
        ("bmacdb run --interval 1m --trade-type usdt_perp --simulate", "record a stand-in until Ctrl-C"),
        ("bmacdb run --interval 1m --trade-type usdt_deli", "record the exchange itself"),
    ]
    if kept is not None:
        steps.append((f'bmacdb sql --db {kept} "FROM latest_candles"', "ask the file anything"))
        steps.append((f"bmacdb factors --db {kept} --factor PctChg:100", "factors of the whole market"))
    else:
        steps.append(("bmacdb demo --keep-files", "this again, and keep the database"))
    width = max(len(command) for command, _ in steps)
    where = [] if kept is None else [f"The database is {kept}."]
    return "\n".join(["", *where, "What to try next:", *(f"  {command:<{width}}  {why}" for command, why in steps)])


def register(app: typer.Typer) -> None:
    app.command()(demo)
