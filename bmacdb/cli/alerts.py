"""`bmacdb alerts`: the places that alerts go to, and a message to try them with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bmacdb.alerts.sender import Target

__all__ = ["register", "send_test"]

Directory = Annotated[
    Path | None,
    typer.Argument(
        metavar="DIR", help="Of bmacdb.toml or config.json [default: the working directory].", show_default=False
    ),
]
Alerts = Annotated[str | None, typer.Option(metavar="@FILE", help="A file of apprise URLs, one a line.")]


def send_test(directory: Directory = None, alerts: Alerts = None) -> None:
    """Send a message to every target that the settings name, as an alert would be sent.

    Exit status 1 when one of them did not take it.
    """
    from bmacdb.alerts.alerting import trial_message
    from bmacdb.alerts.sender import SendFailed, open_targets
    from bmacdb.alerts.targets import alert_urls
    from bmacdb.config import load_settings
    from bmacdb.errors import UsageError

    settings = load_settings(directory, {"alerts": alerts}, instead=("usdt_perp_1m",))
    targets: Sequence[Target] = open_targets(alert_urls(settings))
    if not targets:
        raise UsageError(
            'no target for alerts is set: write alerts = ["dingtalk://SECRET@TOKEN/"] into bmacdb.toml, set '
            "BMACDB_ALERTS, or give --alerts @FILE."
        )
    failed = 0
    for target in targets:
        try:
            target.send(trial_message())
        except SendFailed as error:
            failed += 1
            typer.echo(f"FAILED {error}")
        else:
            typer.echo(f"sent   {target.name}")
    if failed:
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Where alerts go.")
    group.command("test", short_help="Send a test message to every target.")(send_test)
    group.callback()(lambda: None)
    app.add_typer(group, name="alerts")
