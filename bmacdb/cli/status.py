"""`bmacdb status`: is the recorder alive, on time and whole?"""

from __future__ import annotations

import json
import time
from datetime import UTC, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bmacdb.cli.times import Timezone, printing_zone

if TYPE_CHECKING:
    from bmacdb.store.status import FeedStatus, Status

__all__ = ["register", "render", "status"]

_NAMES = 12  # of stragglers, in the table


def status(
    db: Annotated[Path, typer.Option(metavar="FILE", help="The database.")] = Path("bmac.duckdb"),
    watch: Annotated[bool, typer.Option("--watch", help="Look again every 2 seconds, until Ctrl-C.")] = False,
    format: Annotated[str, typer.Option(metavar="NAME", help="table or json.")] = "table",
    timezone: Timezone = None,
) -> None:
    """Readiness, latency, gaps, sockets, weight, size: of a live recorder and of a file at rest.

    Exit status 1 when no recorder is alive, or one is late: its newest complete run time is older than an interval and
    45 seconds.
    """
    from bmacdb.errors import StoreError, UsageError, did_you_mean
    from bmacdb.store.status import Watcher

    formats = ("table", "json")
    if format not in formats:
        raise UsageError(f"--format {format!r} is not one of table, json.{did_you_mean(format, formats)}")
    zone = printing_zone(timezone, db.parent)
    with Watcher(db) as watcher:
        while True:
            try:
                found = watcher.look()
            except StoreError as error:
                if not watch:
                    raise
                typer.echo(f"Error: {error}", err=True)
            else:
                _show(found, format, zone, watch=watch)
                if not watch:
                    raise typer.Exit(0 if found.healthy else 1)
            time.sleep(2.0)


def _show(found: Status, format: str, zone: tzinfo | None, *, watch: bool) -> None:
    if format == "json":
        typer.echo(json.dumps(found.plain(), ensure_ascii=False, indent=None if watch else 2))
        return
    if watch:
        from rich.console import Console

        Console().clear()
    typer.echo(render(found, zone))


def render(found: Status, zone: tzinfo | None = UTC) -> str:
    """The state as lines for eyes; times are in `zone` (the machine's when None)."""
    lines = [f"{found.database}: {_recorder(found)}"]
    details = [f"file {_bytes(found.bytes)}", f"log {_bytes(found.wal_bytes)}"]
    if found.rss_bytes is not None:
        details.append(f"memory {_bytes(found.rss_bytes)}")
    if found.queue is not None:
        details.append(f"queue {found.queue}")
    if found.skew_ms is not None:
        details.append(f"clock {found.skew_ms:+.0f} ms")
    for group, weight in (found.weight or {}).items():
        details.append(f"{group} weight {weight['used']}/{weight['limit']}")
    if found.uri is not None:
        details.append(found.uri)
    lines.append("  " + ", ".join(details))
    for market, at in (found.addresses or {}).items():
        heard = "" if at["delivers"] else " (no candle yet)"
        lines.append(f"  {market}: {at['rest']}, {at['stream']}{heard}")
    for feed in found.feeds:
        lines += ["", *_feed(feed, found.now_ms, zone)]
    return "\n".join(lines)


def _recorder(found: Status) -> str:
    if found.pid is None:
        return "down (no recorder is alive; the file is at rest)"
    uptime = "" if found.uptime_s is None else f", up {_span(found.uptime_s)}"
    return f"{found.state}, process {found.pid}, version {found.version}{uptime}"


def _feed(feed: FeedStatus, now_ms: int, zone: tzinfo | None) -> list[str]:
    mark = "  LATE" if feed.late else "  HALTED: nothing of it trades at the exchange" if feed.halted else ""
    lines = [f"{feed.feed}{mark}"]
    if feed.run_time_ms is None:
        lines.append("  no run time yet")
    else:
        lines.append(f"  run time   {_time(feed.run_time_ms, zone)}  {feed.ready}/{feed.expected} ready")
    if feed.complete_run_time_ms is not None:
        ago = _span((now_ms - feed.complete_run_time_ms) / 1000)
        lines.append(f"  complete   {_time(feed.complete_run_time_ms, zone)}  {ago} ago")
    if feed.stragglers:
        more = len(feed.stragglers) - _NAMES
        names = ", ".join(feed.stragglers[:_NAMES]) + (f" and {more} more" if more > 0 else "")
        lines.append(f"  waits for  {names}")
    if feed.seconds_last is not None:
        lines.append(
            f"  seconds    last {feed.seconds_last:.2f} s, p50 {feed.seconds_p50:.2f} s, p99 {feed.seconds_p99:.2f} s"
        )
    lines.append(f"  bars       {feed.rows:,} rows, {feed.open_gaps} gaps open")
    for socket in feed.sockets:
        spoke = socket.get("last_frame_ms")
        heard = "never spoke" if spoke is None else f"spoke {_span((now_ms - spoke) / 1000)} ago"
        lines.append(
            f"  socket {socket.get('group')}   {socket.get('state')}, {socket.get('streams')} streams, {heard}, "
            f"{socket.get('reconnects', 0)} reconnects"
        )
    return lines


def _time(ms: int, zone: tzinfo | None) -> str:
    from bmacdb.clock import from_ms

    return from_ms(ms).astimezone(zone).isoformat(sep=" ", timespec="seconds")


def _span(seconds: float) -> str:
    seconds = max(0.0, seconds)
    if seconds < 120:
        return f"{seconds:.1f} s"
    for length, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def _bytes(size: int) -> str:
    value = float(size)
    for unit in ("bytes", "KB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.2f} GB"


def register(app: typer.Typer) -> None:
    app.command()(status)
