"""The live probe: against stand-ins that behave as the exchange was seen to, badly too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bmacdb.cli.rehearsal import StandIn, stand_in
from bmacdb.config import load_settings
from bmacdb.doctor.live import Findings, Weights, probe
from bmacdb.doctor.report import clean, report
from bmacdb.model import Candle, Market
from bmacdb.simulated import parse_fault
from bmacdb.symbols import parse_feed
from tests.simulated.support import START_MS, running

SPEED = 20.0
FUTURES = ("usdt_perp_1m",)


async def probed(directory: Path, *faults: str, feeds: tuple[str, ...] = FUTURES, **options: object) -> list[Findings]:
    """What the probe finds in two closes at a stand-in with these faults, one market's findings after another."""
    parsed = [parse_fault(text, now_ms=START_MS) for text in faults]
    defaults: dict[str, object] = {"symbols": 8, "speed": SPEED, "updates_per_second": 2.0, "faults": parsed}
    async with running(**defaults | options) as client:
        exchange, market = client.exchange, parse_feed(feeds[0]).market
        rest_url = exchange.rest_url if len(feeds) > 1 else exchange.rest_urls[market]
        ws_url = exchange.ws_url if len(feeds) > 1 else exchange.ws_urls[market]
        flags = {"rest_url": rest_url, "ws_url": ws_url, "feeds": feeds}
        settings = load_settings(directory, flags | {"clock_rate": str(SPEED), "http_timeout_sec": "5"}, {})
        found: list[Findings] = []
        await probe(settings, 2, found, lambda _: None)
    return found


def values(bar: Candle | None) -> tuple[float, ...]:
    assert bar is not None
    return bar.close, bar.volume, bar.trade_num


async def test_every_question_is_answered_for_every_market(tmp_path: Path) -> None:
    """Paths, delays, REST bars, frames, empty funding, status words, clock and weights; nothing is created."""
    feeds = ("usdt_spot_1m", "usdt_perp_1m", "coin_perp_1m")
    found = await probed(tmp_path, feeds=feeds)
    assert [one.market for one in found] == list(Market)
    for one in found:
        assert one.not_asked == {}
        assert len(one.boundaries) == 2
        assert one.skew_ms is not None
        assert one.statuses.total() >= len(one.streams) > 0
        assert {(close.candle.symbol, close.candle.open_time_ms + 60_000) for close in one.closes} >= {
            (symbol, run_time_ms) for symbol in one.streams for run_time_ms in one.boundaries
        }
        for ages in one.rest.values():
            assert values(ages[2]) == values(ages[15]) == values(ages[60])
        # The stand-in counts as the recorder reckons, but for one page that was measured to be cheaper than documented.
        unlike = {what: weights for what, weights in one.weights.items() if set(weights.measured) - {weights.reckoned}}
        assert unlike == {} or unlike == {"klines of 100 rows": Weights(2, [1])}
        assert {"exchangeInfo", "klines of 1 rows"} <= {what for what, one in one.weights.items() if one.measured}
    spot, usdt, coin = found
    assert spot.empty_funding is None
    assert usdt.empty_funding == coin.empty_funding == "HTTP 200, 2 bytes: []"
    for one, delivers in ((spot, "/stream"), (usdt, "/market/stream")):
        assert any(path.endswith(delivers) and told.frames > 0 for path, told in one.paths.items()), one.paths.keys()
    text = report(found)
    assert "could not" not in text
    assert "`HTTP 200, 2 bytes: []`" in text
    assert os.listdir(tmp_path) == []


async def test_bars_that_still_change_and_frames_that_are_late_or_lost_are_seen(tmp_path: Path) -> None:
    """REST final after 12 s; frames of some symbols 4 s late and of others lost: each where it belongs."""
    found = (await probed(tmp_path, "changing,seconds=12", "late,seconds=4,symbols=BTCUSDT", "lost,symbols=ETHUSDT"))[0]
    assert any(values(ages[2]) != values(ages[60]) for ages in found.rest.values())
    assert all(values(ages[15]) == values(ages[60]) for ages in found.rest.values())
    delays = {symbol: [one.delay_ms for one in found.closes if one.candle.symbol == symbol] for symbol in found.streams}
    assert min(delays["BTCUSDT"]) >= 4000
    assert delays["ETHUSDT"] == []
    assert len(found.missing_trades) == 2
    rows = [line.split(" | ") for line in report([found]).splitlines() if line.startswith("| +")]
    assert [row[0] for row in rows] == ["| +2 s", "| +5 s", "| +15 s"]
    assert int(rows[0][3]) > 0
    assert rows[2][2:4] == ["0", "0"]


@pytest.mark.parametrize(("paths", "delivers"), [("routed", {"/market/stream"}), ("unrouted", {"/stream"})])
async def test_the_paths_that_deliver_are_told(tmp_path: Path, paths: str, delivers: set[str]) -> None:
    """COIN-M on either path: the silent one is there with no frame, and closes are taken from the one that speaks."""
    found = (await probed(tmp_path, feeds=("coin_perp_1m",), coin_paths=paths))[0]
    streams = {path: one.frames for path, one in found.paths.items() if path.endswith("stream")}
    assert {path for path, frames in streams.items() if frames} == delivers
    expected = {(symbol, run_time_ms) for symbol in found.streams for run_time_ms in found.boundaries}
    assert expected <= {(one.candle.symbol, one.candle.open_time_ms + 60_000) for one in found.closes}


async def test_what_fails_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    """No klines are to be had, websockets are thrown out: clock, symbols and funding are there all the same."""
    found = (await probed(tmp_path, "rest,status=500,endpoint=klines", "unwelcome"))[0]
    assert found.not_asked.keys() == {"weights", "REST bars", "missing frames"}
    assert found.empty_funding == "HTTP 200, 2 bytes: []"
    assert found.closes == []
    text = report([found])
    assert "REST bars: could not be asked: " in text
    assert "Closing frames: ms from the close to the arrival: could not be measured." in text
    assert "http" not in text
    assert "127.0.0.1" not in text


def environment(exchange: StandIn) -> dict[str, str]:
    addresses = {"BMACDB_REST_URL": exchange.rest_url, "BMACDB_WS_URL": exchange.ws_url}
    return {**os.environ, **addresses, "BMACDB_CLOCK_RATE": str(exchange.speed), "PYTHONWARNINGS": "error"}


@contextmanager
def command(directory: Path, environ: dict[str, str], *options: str) -> Iterator[subprocess.Popen[str]]:
    line = [sys.executable, "-m", "bmacdb.cli.main", "doctor", "--live", *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(line, cwd=directory, env=environ, stdout=pipe, stderr=pipe, encoding="utf-8") as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.skipif(os.name == "nt", reason="no Ctrl-C can be sent to one process alone there")
def test_ctrl_c_prints_what_is_known(tmp_path: Path) -> None:
    """Status 130, and a report on stdout with what was learnt before."""
    with (
        stand_in(speed=SPEED, arguments=("--symbols", "4", "--updates", "2")) as exchange,
        command(tmp_path, environment(exchange), "--minutes", "60", "--feed", "usdt_perp_1m") as process,
    ):
        assert process.stderr is not None
        next(line for line in process.stderr if "close 3 of 60" in line)
        process.send_signal(signal.SIGINT)
        text, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert text.startswith("# bmacdb ")
    assert "+2 s" in text
    assert "premiumIndex" in text


def test_an_exchange_that_is_not_there_is_a_short_report_with_status_1(tmp_path: Path) -> None:
    """Nothing could be asked; the address that was given, which may be a secret one, is not shown."""
    nowhere = {**os.environ, "BMACDB_REST_URL": "http://127.0.0.1:1", "BMACDB_WS_URL": "ws://127.0.0.1:1"}
    with command(tmp_path, nowhere, "--feed", "usdt_perp_1m") as process:
        text, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "clock: could not be asked: " in text
    assert "127.0.0.1" not in text


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("cannot connect to http://user:hush@hush.example:8080/x now", "hush"),
        ("Cannot connect to host hush.example:443 ssl:default [Connect call failed ('192.0.2.7', 443)]", "192.0.2"),
        ("Cannot connect to host hush.example:443", "hush"),
        ("banned: IP(192.0.2.7) until 1795453200000", "192.0.2.7"),
        ("from 2001:db8:85a3::8a2e:370:7334", "8a2e"),
        ("from [2001:db8::1]:443", "db8"),
        ("relay.hush refused", "hush"),
        ("no such file: /home/hush/robot.json", "hush"),
    ],
)
def test_no_address_leaves_the_report(text: str, hidden: str) -> None:
    """URLs, hosts, numbers and paths go; bodies of the exchange stay."""
    assert hidden not in clean(text, ["relay.hush"])
    assert clean('HTTP 200, 2 bytes: [] {"code":-1121}') == 'HTTP 200, 2 bytes: [] {"code":-1121}'
