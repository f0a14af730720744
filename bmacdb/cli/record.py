"""`bmacdb record`: the recorder, with a receiver in place of the exchange."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from bmacdb.cli.options import GroupedCommand, settings_options
from bmacdb.cli.run import record_and_report
from bmacdb.model import Market
from bmacdb.settings import OPTIONS

__all__ = ["register"]

_OF_THE_EXCHANGE = ("rest_url", "ws_url", "proxy", "clock_rate")
_PAUSE_S = 1.0


@settings_options(*(name for name in OPTIONS if not name.endswith(_OF_THE_EXCHANGE)))
def record(
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR",
            help="As that of bmacdb run: settings, and the database [default: the working directory].",
            show_default=False,
        ),
    ] = None,
    *,
    receiver: Annotated[
        str, typer.Option("--from", metavar="URL", help="The address of bmacdb receive, as http://127.0.0.1:9740.")
    ],
    **flags: object,
) -> None:
    """Record what a receiver on this machine receives: bmacdb run, with bmacdb receive in place of the exchange.

    Several can record from one receiver, each into a file of its own. Either end may be restarted: the recorder asks
    for what it has missed. The URL begins with http:// and not tcp://, as a receiver speaks the exchange's own
    protocol.
    """
    from bmacdb.config import load_settings
    from bmacdb.exchange.relay import receiver_addresses

    addresses = receiver_addresses(receiver)
    settings = load_settings(directory, flags)
    rate = asyncio.run(_clock_rate(addresses["rest_url"]))
    nothing = {f"{market}_rest_url": None for market in Market}
    update = {**nothing, "ws_url": None, "proxy": None, "clock_rate": rate, **addresses}
    outcome = record_and_report(settings.model_copy(update=update))
    if outcome.reason == "SIGINT":
        raise typer.Exit(130)


async def _clock_rate(url: str) -> float:
    """Of the exchange behind the receiver at `url`, which is waited for. Raises UsageError where there is another."""
    import aiohttp

    from bmacdb.errors import UsageError
    from bmacdb.exchange.relay import GREETING
    from bmacdb.exchange.session import describe

    told = False
    timeout = aiohttp.ClientTimeout(total=5.0)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while True:
            try:
                async with session.get(url + GREETING) as response:
                    body = await response.json(content_type=None) if response.status == 200 else None
            except ValueError:
                body = None
            except (aiohttp.ClientConnectionError, TimeoutError) as error:
                if not told:
                    print(f"{url}: no receiver yet ({describe(error)}); waiting for it.", file=sys.stderr, flush=True)
                told = True
                await asyncio.sleep(_PAUSE_S)
                continue
            except aiohttp.ClientError:
                body = None
            if not isinstance(body, dict) or body.get("receiver") != "bmacdb":
                raise UsageError(f"--from {url}: there is a server, but no receiver. Start one with bmacdb receive.")
            return float(body["clock_rate"])


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(cls=GroupedCommand)(record)
