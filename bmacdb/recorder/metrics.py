"""Metrics for Prometheus: what the recorder tells and what it is in the middle of, over HTTP.

The page is written on the event loop, where nothing changes meanwhile. prometheus_client is imported only where metrics
are on.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmacdb.errors import UsageError
from bmacdb.recorder.events import (
    Event,
    Notice,
    Report,
    RunComplete,
    RunLate,
    RunProgress,
    RunStarted,
)

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

__all__ = ["Meter", "metered"]

_READY_S = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 120.0, 300.0)
_COMMIT_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)

Info = Callable[[], Mapping[str, Any]]


class Meter:
    """Takes what is to be measured; this one forgets it."""

    def committed(self, feed: str, candles: int, seconds: float) -> None:
        """`candles` of `feed` were committed within `seconds`."""

    def watch(self, info: Info, database: Path) -> None:
        """Read the rest from `info` (the recorder as `bmacdb status` shows it) and from the sizes of the file."""


@contextlib.asynccontextmanager
async def metered(host: str, port: int | None, report: Report) -> AsyncIterator[tuple[Report, Meter]]:
    """Serve metrics at `http://host:port/metrics` as long as the block lasts (not at all when `port` is None), with a
    Report that counts what it passes on to `report`.

    Raises UsageError when the address cannot be used.
    """
    if port is None:
        yield report, Meter()
        return
    from aiohttp import web

    meter = _Prometheus()

    def both(event: Event) -> None:
        report(event)
        meter.take(event)

    async def page(_: web.Request) -> web.Response:
        return web.Response(body=meter.page(), headers={"Content-Type": meter.content_type})

    application = web.Application()
    application.router.add_get("/metrics", page)
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as exc:
            raise UsageError(
                f"metrics cannot be served on {host}:{port} ({exc.strerror or exc}): choose another --metrics-port."
            ) from exc
        yield both, meter
    finally:
        await runner.cleanup()


class _Prometheus(Meter):
    """Counts in a registry of its own: nothing of another library gets onto the page."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
        from prometheus_client.exposition import CONTENT_TYPE_LATEST

        self.content_type = CONTENT_TYPE_LATEST
        self._registry = registry = CollectorRegistry()
        self._info: Info | None = None
        self._database: Path | None = None
        self._newest: dict[str, int] = {}
        self._newest_complete: dict[str, int] = {}
        feed = ("feed",)
        self._seconds = Histogram(
            "bmacdb_ready_seconds",
            "From the boundary of a run time until its whole market was committed",
            feed,
            buckets=_READY_S,
            registry=registry,
        )
        self._commits = Histogram(
            "bmacdb_commit_seconds", "Time of a transaction", feed, buckets=_COMMIT_S, registry=registry
        )
        self._ready = Gauge("bmacdb_run_ready", "Symbols ready in the newest run time", feed, registry=registry)
        self._expected = Gauge("bmacdb_run_expected", "Symbols expected in it", feed, registry=registry)
        self._run_time = Gauge(
            "bmacdb_run_time_seconds", "The newest run time, in Unix seconds", feed, registry=registry
        )
        self._complete = Gauge(
            "bmacdb_complete_run_time_seconds", "The newest complete run time, in Unix seconds", feed, registry=registry
        )
        self._late = Counter("bmacdb_late_runs", "Run times not complete at their deadline", feed, registry=registry)
        self._repaired = Counter("bmacdb_repaired_candles", "Candles that REST had to bring", feed, registry=registry)
        self._candles = Counter("bmacdb_candles", "Candles committed", feed, registry=registry)
        self._notices = Counter("bmacdb_notices", "Warnings and errors told", ("topic", "severity"), registry=registry)
        registry.register(self)  # it has `collect`, which is all that is asked for

    def page(self) -> bytes:
        """All metrics in Prometheus' text format."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry)

    def watch(self, info: Info, database: Path) -> None:
        self._info, self._database = info, database

    def committed(self, feed: str, candles: int, seconds: float) -> None:
        self._commits.labels(feed).observe(seconds)
        if candles:
            self._candles.labels(feed).inc(candles)

    def take(self, event: Event) -> None:
        """Count an event."""
        match event:
            case RunStarted(feed=feed):
                self._newest[feed] = max(event.run_time_ms, self._newest.get(feed, 0))
                self._run_time.labels(feed).set(self._newest[feed] / 1000)
                self._now(feed, event.run_time_ms, 0, event.expected)
            case RunProgress(feed=feed):
                self._now(feed, event.run_time_ms, event.ready, event.expected)
            case RunLate(feed=feed):
                self._late.labels(feed).inc()
                self._now(feed, event.run_time_ms, event.expected - len(event.missing), event.expected)
            case RunComplete(feed=feed):
                self._seconds.labels(feed).observe(event.late_ms / 1000)
                self._repaired.labels(feed).inc(event.repaired)
                self._now(feed, event.run_time_ms, event.expected, event.expected)
                self._newest_complete[feed] = max(event.run_time_ms, self._newest_complete.get(feed, 0))
                self._complete.labels(feed).set(self._newest_complete[feed] / 1000)
            case Notice() if event.severity != "info":
                self._notices.labels(event.topic, str(event.severity)).inc()

    def _now(self, feed: str, run_time_ms: int, ready: int, expected: int) -> None:
        if run_time_ms >= self._newest.get(feed, 0):  # an earlier one may still be late
            self._ready.labels(feed).set(ready)
            self._expected.labels(feed).set(expected)

    def collect(self) -> Iterator[Metric]:
        """What is read at the moment of asking."""
        if self._info is None:
            return
        info = self._info()
        yield from _of_recorder(info)
        yield from _of_feeds(info["feeds"])
        if self._database is not None:
            log = self._database.with_name(self._database.name + ".wal")
            yield _gauge("bmacdb_file_bytes", "Size of the database", [((), _size(self._database))])
            yield _gauge("bmacdb_log_bytes", "Size of its write-ahead log", [((), _size(log))])


Samples = Iterable[tuple[tuple[str, ...], float]]


def _gauge(name: str, text: str, samples: Samples, labels: tuple[str, ...] = ()) -> Metric:
    from prometheus_client.metrics_core import GaugeMetricFamily

    family = GaugeMetricFamily(name, text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _counter(name: str, text: str, samples: Samples, labels: tuple[str, ...] = ()) -> Metric:
    from prometheus_client.metrics_core import CounterMetricFamily

    family = CounterMetricFamily(name, text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _of_recorder(info: Mapping[str, Any]) -> Iterator[Metric]:
    weight: Mapping[str, Mapping[str, int]] = info["weight"]
    yield _gauge("bmacdb_info", "The version", [((str(info["version"]),), 1)], ("version",))
    yield _gauge("bmacdb_started_seconds", "When it started, in Unix seconds", [((), info["started_ms"] / 1000)])
    yield _gauge("bmacdb_queue_messages", "Messages that wait for the consumer", [((), info["queue"])])
    yield _gauge("bmacdb_resident_bytes", "Resident memory", [((), info["rss_bytes"])])
    yield _gauge(
        "bmacdb_clock_skew_seconds", "This machine's clock ahead of the exchange's", [((), info["skew_ms"] / 1000)]
    )
    yield _gauge(
        "bmacdb_weight_used",
        "Request weight used in this minute",
        [((name,), one["used"]) for name, one in weight.items()],
        ("group",),
    )
    yield _gauge(
        "bmacdb_weight_limit",
        "Request weight allowed a minute",
        [((name,), one["limit"]) for name, one in weight.items()],
        ("group",),
    )
    yield _counter("bmacdb_malformed_frames", "Frames that did not parse", [((), info["malformed_frames"])])


def _of_feeds(feeds: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    def of_each(value: Callable[[Mapping[str, Any]], float]) -> Samples:
        return [((name,), value(feed)) for name, feed in feeds.items()]

    def of_sockets(what: str) -> Samples:
        return of_each(lambda feed: sum(socket[what] for socket in feed["sockets"]))

    label = ("feed",)
    yield _gauge("bmacdb_live", "Whether the feed is live", of_each(lambda feed: feed["live"]), label)
    halted = of_each(lambda feed: feed["halted"])
    yield _gauge("bmacdb_halted", "Whether nothing of the feed trades at the exchange", halted, label)
    yield _gauge("bmacdb_open_gaps", "Holes neither filled nor proved absent", of_each(lambda f: f["open_gaps"]), label)
    yield _gauge("bmacdb_streams", "Streams listened to", of_sockets("streams"), label)
    yield _gauge(
        "bmacdb_receiving_sockets",
        "Connections on which a stream has spoken",
        of_each(lambda feed: sum(socket["state"] == "receiving" for socket in feed["sockets"])),
        label,
    )
    yield _counter("bmacdb_frames", "Frames received", of_sockets("frames"), label)
    yield _counter("bmacdb_stream_bytes", "Bytes of these frames", of_sockets("bytes"), label)
    yield _counter("bmacdb_reconnects", "Connections made anew", of_sockets("reconnects"), label)


def _size(path: Path) -> int:
    # The size alone: opening the file would drop the process's lock on it.
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0
