"""`bmacdb run`: the recorder."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bmacdb.config import Settings
    from bmacdb.recorder.run import Outcome

__all__ = ["register", "run"]

# Plain text for all of them: the settings check the values, whether they come from here, a file or the environment.
Text = str | None


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
    interval: Annotated[
        Text, typer.Option(metavar="NAME", help="1s (spot alone), 1m, 5m, 1h … 1d, 3d, 1w, 1M.")
    ] = None,
    trade_type: Annotated[
        Text, typer.Option(metavar="NAME", help="usdt_spot, usdt_perp, usdt_deli, coin_perp, coin_deli …")
    ] = None,
    feeds: Annotated[
        list[str] | None,
        typer.Option("--feed", metavar="NAME", help="As usdt_perp_5m, in place of the two above; may repeat."),
    ] = None,
    db: Annotated[Text, typer.Option(metavar="FILE", help="The database [default: bmac.duckdb in DIR].")] = None,
    num_candles: Annotated[
        Text, typer.Option(metavar="N", help="Depth guaranteed before the first run time, 1 to 10000 [default: 1500].")
    ] = None,
    keep: Annotated[
        Text, typer.Option(metavar="N", help="Keep only the last N bars of a feed [default: everything].")
    ] = None,
    resample: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Also make 1h (or usdt_perp_5m->1h) bars at every offset; may repeat."),
    ] = None,
    funding_rate: Annotated[
        bool | None, typer.Option("--funding-rate/--no-funding-rate", help="Record funding rates [default: no].")
    ] = None,
    keep_symbols: Annotated[
        list[str] | None,
        typer.Option(metavar="NAMES", help="Only these, as BTCUSDT,ETHUSDT; may repeat [default: all]."),
    ] = None,
    spot_include: Annotated[
        list[str] | None,
        typer.Option(metavar="ASSETS", help="Record these on spot, though stablecoins or leveraged tokens."),
    ] = None,
    spot_exclude: Annotated[
        list[str] | None, typer.Option(metavar="ASSETS", help="Leave these base assets out of spot feeds, too.")
    ] = None,
    http_timeout_sec: Annotated[Text, typer.Option(metavar="SECONDS", help="[default: 5]")] = None,
    candle_close_timeout_sec: Annotated[
        Text, typer.Option(metavar="SECONDS", help="How long to wait for candles before asking REST [default: 15].")
    ] = None,
    rest_settle_sec: Annotated[
        Text, typer.Option(metavar="SECONDS", help="How old a bar must be to be believed from REST [default: 15].")
    ] = None,
    num_rest_fetchers: Annotated[Text, typer.Option(metavar="N", help="[default: 8]")] = None,
    num_socket_listeners: Annotated[Text, typer.Option(metavar="N", help="[default: 8]")] = None,
    dingding: Annotated[
        Text, typer.Option(metavar="@FILE", help="JSON for alerts; a file, or the environment, keeps it secret.")
    ] = None,
    msg_sender: Annotated[
        Text, typer.Option(metavar="@FILE", help="The same, in the predecessor's other form.")
    ] = None,
    alerts: Annotated[
        Text, typer.Option(metavar="@FILE", help="Where alerts go: a file of apprise URLs, one a line.")
    ] = None,
    metrics_port: Annotated[
        Text, typer.Option(metavar="PORT", help="Serve metrics for Prometheus there [default: none].")
    ] = None,
    metrics_host: Annotated[
        Text, typer.Option(metavar="ADDRESS", help="Address that metrics are served on [default: 127.0.0.1].")
    ] = None,
    export_dir: Annotated[
        Text, typer.Option(metavar="DIR", help="Also keep the predecessor's files up to date there [default: none].")
    ] = None,
    layout: Annotated[Text, typer.Option(metavar="NAME", help="Of these files: bmac [default: bmac].")] = None,
    save_type: Annotated[
        Text, typer.Option(metavar="NAME", help="Of these files: parquet or feather [default: parquet].")
    ] = None,
    rest_url: Annotated[
        Text, typer.Option(metavar="URL", help="An address in place of the exchange's REST addresses.")
    ] = None,
    ws_url: Annotated[Text, typer.Option(metavar="URL", help="The same for its websockets.")] = None,
    spot_rest_url: Annotated[Text, typer.Option(metavar="URL", help="--rest-url for one market.")] = None,
    spot_ws_url: Annotated[Text, typer.Option(metavar="URL", help="--ws-url for one market.")] = None,
    usdt_futures_rest_url: Annotated[Text, typer.Option(metavar="URL")] = None,
    usdt_futures_ws_url: Annotated[Text, typer.Option(metavar="URL")] = None,
    coin_futures_rest_url: Annotated[Text, typer.Option(metavar="URL")] = None,
    coin_futures_ws_url: Annotated[Text, typer.Option(metavar="URL")] = None,
    proxy: Annotated[
        Text, typer.Option(metavar="URL", help="An HTTP or SOCKS proxy [default: HTTPS_PROXY, ALL_PROXY].")
    ] = None,
    periods: Annotated[
        Text, typer.Option(metavar="N", help="Stop after N complete run times [default: go on until stopped].")
    ] = None,
    log_format: Annotated[
        Text, typer.Option(metavar="text|json", help="Lines for people or JSON [default: text].")
    ] = None,
    timezone: Annotated[
        Text, typer.Option(metavar="ZONE", help="Of printed times, as Asia/Shanghai [default: the machine's].")
    ] = None,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Record a stand-in exchange of its own in place of the real one.")
    ] = False,
    speed: Annotated[
        float | None, typer.Option(min=1, metavar="N", help="How much faster the stand-in's clock runs [default: 1].")
    ] = None,
    alerts_for_real: Annotated[
        bool, typer.Option("--alerts-for-real", help="Send alerts with --simulate, too [default: they are muted].")
    ] = False,
    clock_rate: Annotated[Text, typer.Option(hidden=True)] = None,
) -> None:
    """Record a market: fetch the history that is missing, then append every closed candle until stopped.

    Settings come from DIR/bmacdb.toml (or config.json), then BMACDB_* variables, then these options.
    """
    flags: dict[str, object] = {
        "interval": interval,
        "trade_type": trade_type,
        "feeds": tuple(feeds or ()),
        "db": db,
        "num_candles": num_candles,
        "keep": keep,
        "resample": tuple(resample or ()),
        "funding_rate": funding_rate,
        "keep_symbols": tuple(keep_symbols or ()),
        "spot_include": tuple(spot_include or ()),
        "spot_exclude": tuple(spot_exclude or ()),
        "http_timeout_sec": http_timeout_sec,
        "candle_close_timeout_sec": candle_close_timeout_sec,
        "rest_settle_sec": rest_settle_sec,
        "num_rest_fetchers": num_rest_fetchers,
        "num_socket_listeners": num_socket_listeners,
        "dingding": dingding,
        "msg_sender": msg_sender,
        "alerts": alerts,
        "metrics_port": metrics_port,
        "metrics_host": metrics_host,
        "export_dir": export_dir,
        "layout": layout,
        "save_type": save_type,
        "rest_url": rest_url,
        "ws_url": ws_url,
        "spot_rest_url": spot_rest_url,
        "spot_ws_url": spot_ws_url,
        "usdt_futures_rest_url": usdt_futures_rest_url,
        "usdt_futures_ws_url": usdt_futures_ws_url,
        "coin_futures_rest_url": coin_futures_rest_url,
        "coin_futures_ws_url": coin_futures_ws_url,
        "proxy": proxy,
        "periods": periods,
        "log_format": log_format,
        "timezone": timezone,
        "clock_rate": clock_rate,
    }
    from bmacdb.cli.rehearsal import rehearsing
    from bmacdb.config import load_settings
    from bmacdb.errors import UsageError

    settings = load_settings(directory, flags)
    if simulate and (settings.rest_url or settings.ws_url):
        raise UsageError("--simulate starts an exchange of its own: leave out --rest-url and --ws-url, or --simulate.")
    if speed is not None and not simulate:
        raise UsageError("--speed is for --simulate: the real exchange's clock runs as it does.")
    if alerts_for_real and not simulate:
        raise UsageError("--alerts-for-real is for --simulate: alerts of a real recording are always sent.")
    rehearsal = rehearsing(settings, speed=speed or 1.0, alerts_for_real=alerts_for_real) if simulate else None
    with rehearsal or nullcontext(settings) as final:
        outcome = record_and_report(final)
    if outcome.reason == "SIGINT":
        raise typer.Exit(130)


def record_and_report(settings: Settings, *, limit_s: float | None = None) -> Outcome:
    """Run the recorder to its end, telling what happens on stderr. Raises BmacdbError after `limit_s` seconds."""
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
    app.command(short_help="Record a market until stopped.")(run)
