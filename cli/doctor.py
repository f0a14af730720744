"""`bmacdb doctor`: what keeps a recorder from recording here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bmacdb.doctor.finding import Finding

__all__ = ["doctor", "register"]

Text = str | None


def doctor(
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR",
            help="As for bmacdb run [default: the working directory].",
            show_default=False,
        ),
    ] = None,
    feeds: Annotated[
        list[str] | None,
        typer.Option("--feed", metavar="NAME", help="What is to be recorded [default: as set, or all markets]."),
    ] = None,
    db: Annotated[Text, typer.Option(metavar="FILE", help="The database [default: bmac.duckdb in DIR].")] = None,
    rest_url: Annotated[Text, typer.Option(metavar="URL", help="As for bmacdb run.")] = None,
    ws_url: Annotated[Text, typer.Option(metavar="URL", help="As for bmacdb run.")] = None,
    proxy: Annotated[Text, typer.Option(metavar="URL", help="As for bmacdb run.")] = None,
    patience: Annotated[
        float, typer.Option(metavar="SECONDS", min=1, help="How long to wait for a market's first frame.")
    ] = 15.0,
    format: Annotated[str, typer.Option(metavar="NAME", help="text or json.")] = "text",
) -> None:
    """Look at settings, versions, disk, database, exchange, clock and alerts; say what is wrong and what to do.

    Exit status 1 when something fails. Nothing is changed, and no alert is sent.
    """
    import asyncio

    from bmacdb.doctor.examine import examine
    from bmacdb.doctor.finding import Level, worst
    from bmacdb.errors import UsageError, did_you_mean

    formats = ("text", "json")
    if format not in formats:
        raise UsageError(f"--format {format!r} is not one of text, json.{did_you_mean(format, formats)}")
    flags = {"feeds": tuple(feeds or ()), "db": db, "rest_url": rest_url, "ws_url": ws_url, "proxy": proxy}
    findings: list[Finding] = []

    async def look() -> None:
        async for finding in examine(directory, flags, patience_s=patience):
            findings.append(finding)
            _show(finding, format)

    asyncio.run(look())
    if worst(findings) is Level.FAIL:
        raise typer.Exit(1)


def _show(finding: Finding, format: str) -> None:
    if format == "json":
        typer.echo(
            json.dumps(
                {"level": finding.level, "name": finding.name, "text": finding.text, "remedy": finding.remedy},
                ensure_ascii=False,
            )
        )
        return
    typer.echo(f"{finding.level:<5} {finding.name}: {finding.text}")
    if finding.remedy:
        typer.echo(f"      -> {finding.remedy}")


def register(app: typer.Typer) -> None:
    app.command(short_help="What keeps a recorder from recording here, and what to do.")(doctor)
