"""`bmacdb doctor`: what keeps a recorder from recording here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bmacdb.cli.options import settings_options

if TYPE_CHECKING:
    from bmacdb.doctor.finding import Finding

__all__ = ["doctor", "register"]


@settings_options("feeds", "db", "rest_url", "ws_url", "proxy")
def doctor(
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR",
            help="As for bmacdb run [default: the working directory].",
            show_default=False,
        ),
    ] = None,
    *,
    patience: Annotated[
        float, typer.Option(metavar="SECONDS", min=1, help="How long to wait for a market's first frame.")
    ] = 15.0,
    live: Annotated[
        bool,
        typer.Option("--live", help="Measure for some minutes how the exchange behaves; print a report in Markdown."),
    ] = False,
    minutes: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=60, help="How many closes --live watches [default: 3].")
    ] = None,
    format: Annotated[str, typer.Option(metavar="NAME", help="text or json.")] = "text",
    **flags: object,
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
    if minutes is not None and not live:
        raise UsageError("--minutes is for --live: the other examination takes as long as it takes.")
    if live and format != "text":
        raise UsageError("--live prints Markdown: leave out --format.")
    if live:
        _probe(directory, flags, minutes or 3)
        return
    findings: list[Finding] = []

    async def look() -> None:
        async for finding in examine(directory, flags, patience_s=patience):
            findings.append(finding)
            _show(finding, format)

    asyncio.run(look())
    if worst(findings) is Level.FAIL:
        raise typer.Exit(1)


def _probe(directory: Path | None, flags: Mapping[str, object], minutes: int) -> None:
    """The live probe; on Ctrl-C the report of what is known until then."""
    import asyncio
    from urllib.parse import urlsplit

    from bmacdb.config import load_settings
    from bmacdb.doctor.examine import ALL_MARKETS
    from bmacdb.doctor.live import Findings, probe
    from bmacdb.doctor.report import report

    settings = load_settings(directory, flags, instead=ALL_MARKETS)
    found: list[Findings] = []
    interrupted = False
    try:
        asyncio.run(probe(settings, minutes, found, lambda text: typer.echo(text, err=True)))
    except KeyboardInterrupt:
        interrupted = True
    urls = [settings.rest_url, settings.ws_url, settings.proxy]
    urls += [url for one in found for url in settings.addresses(one.market)]
    given = [urlsplit(url) for url in urls if url]
    typer.echo(report(found, secrets=[part for url in given for part in (url.netloc, url.hostname or "")]))
    if interrupted:
        raise typer.Exit(130)
    if all(one.skew_ms is None for one in found):
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
    app.command()(doctor)
