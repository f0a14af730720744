"""`bmacdb run`: the recorder."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bmacdb.cli.options import GroupedCommand, settings_options

if TYPE_CHECKING:
    from bmacdb.config import Settings
    from bmacdb.recorder.run import Outcome

__all__ = ["register", "run"]

_REHEARSAL = "Rehearsal"


@settings_options()
def run(
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR",
            help="May hold bmacdb.toml or the predecessor's config.json; the database is made there "
            "[default: the working directory].",
            show_default=False,
        ),
    ] = None,
    *,
    simulate: Annotated[
        bool,
        typer.Option("--simulate", help="Record a stand-in exchange, started for it.", rich_help_panel=_REHEARSAL),
    ] = False,
    speed: Annotated[
        float | None,
        typer.Option(
            min=1, metavar="N", help="Speed of the stand-in's clock [default: 1].", rich_help_panel=_REHEARSAL
        ),
    ] = None,
    alerts_for_real: Annotated[
        bool,
        typer.Option(
            "--alerts-for-real",
            help="Send alerts with --simulate too [default: only log them].",
            rich_help_panel=_REHEARSAL,
        ),
    ] = False,
    **flags: object,
) -> None:
    """Record a market: fetch the history that is missing, then append every closed candle until stopped.

    Settings come from DIR/bmacdb.toml (or config.json), then environment variables (BMACDB_NUM_CANDLES for
    --num-candles), then these options.
    """
    from bmacdb.cli.rehearsal import rehearsing
    from bmacdb.config import load_settings
    from bmacdb.errors import UsageError

    settings = load_settings(directory, flags)
    if simulate and (settings.rest_url or settings.ws_url):
        raise UsageError("--simulate starts an exchange of its own: leave out --rest-url and --ws-url, or --simulate.")
    if not simulate and (speed is not None or alerts_for_real):
        option = "--alerts-for-real" if speed is None else "--speed"
        raise UsageError(f"{option} needs --simulate: it changes the stand-in exchange alone.")
    rehearsal = rehearsing(settings, speed=speed or 1.0, alerts_for_real=alerts_for_real) if simulate else None
    with rehearsal or nullcontext(settings) as final:
        outcome = record_and_report(final)
    if outcome.reason == "SIGINT":
        raise typer.Exit(130)


def record_and_report(settings: Settings, *, limit_s: float | None = None) -> Outcome:
    """Run the recorder to its end, reporting on stderr. Raises BmacdbError after `limit_s` seconds."""
    import asyncio

    from bmacdb.alerts.alerting import alerting
    from bmacdb.cli.console import reporting
    from bmacdb.cli.lean import without_pandas
    from bmacdb.errors import BmacdbError

    async def within_limit() -> Outcome:
        from bmacdb.recorder.run import record

        try:
            async with asyncio.timeout(limit_s) as limit:
                return await record(settings, report)
        except TimeoutError as exc:
            if not limit.expired():
                raise
            raise BmacdbError(f"the recording did not end within {limit_s:g} s. Is this machine very busy?") from exc

    with (
        without_pandas(),
        reporting(settings.log_format, settings.timezone) as console,
        alerting(settings, console) as report,
    ):
        return asyncio.run(within_limit())


def register(app: typer.Typer) -> None:
    app.command(cls=GroupedCommand)(run)
