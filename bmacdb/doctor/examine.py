"""The whole examination: settings first, then this machine, the database, alerts, proxy and the exchange."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from bmacdb.alerts.sender import open_targets
from bmacdb.alerts.targets import alert_urls
from bmacdb.config import load_settings
from bmacdb.doctor.exchange import look_at_exchange
from bmacdb.doctor.finding import Finding, fail, ok, warn
from bmacdb.doctor.machine import look_at_database, look_at_machine
from bmacdb.errors import UsageError
from bmacdb.settings import DATABASE_NAME, Settings
from bmacdb.sources import mask_url

__all__ = ["ALL_MARKETS", "examine"]

ALL_MARKETS = ("usdt_spot_1m", "usdt_perp_1m", "coin_perp_1m")


async def examine(
    directory: Path | None,
    flags: Mapping[str, object],
    *,
    patience_s: float = 15.0,
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[Finding]:
    """Findings, as they are made. Settings come as for `run`; without a feed one of each market is looked at.

    Where the settings cannot be used, the rest is looked at with what the flags say.
    """
    environ = os.environ if environ is None else environ
    try:
        settings = load_settings(directory, flags, environ, instead=ALL_MARKETS)
    except UsageError as error:
        yield fail("settings", str(error), "Mend this first; the rest is looked at with defaults.")
        settings = _flags_alone(directory, flags)
    else:
        yield ok("settings", ", ".join(f"{name}={value}" for name, value in settings.shown()))
    for text in settings.warnings:
        yield warn("settings", text)
    for looks in (look_at_machine(settings.db), look_at_database(settings.db), _alerts(settings)):
        for finding in looks:
            yield finding
    yield _proxy(settings)
    async for finding in look_at_exchange(settings, patience_s=patience_s):
        yield finding


def _flags_alone(directory: Path | None, flags: Mapping[str, object]) -> Settings:
    least = {"feeds": ALL_MARKETS, "db": (directory or Path()) / DATABASE_NAME}
    given = {name: value for name, value in flags.items() if value not in (None, ())}
    try:
        return Settings.model_validate(least | given)
    except ValidationError:
        return Settings.model_validate(least)


def _alerts(settings: Settings) -> Iterator[Finding]:
    try:
        targets = open_targets(alert_urls(settings))
    except UsageError as error:
        yield fail("alerts", str(error))
        return
    if targets:
        yield ok("alerts", f"go to {', '.join(target.name for target in targets)} (try them: bmacdb alerts test)")
    else:
        yield ok("alerts", "none are set: troubles are told in the log alone")


def _proxy(settings: Settings) -> Finding:
    return ok("proxy", f"{mask_url(settings.proxy)} is used" if settings.proxy else "none is used")
