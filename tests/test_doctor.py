"""The doctor: against the stand-in exchange, and against everything that may be wrong."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import duckdb
import pytest

from bmacdb.clock import SystemClock
from bmacdb.doctor.examine import examine
from bmacdb.doctor.finding import Finding, Level, fail, ok, warn, worst
from bmacdb.doctor.machine import look_at_database, look_at_machine
from bmacdb.model import Market
from bmacdb.store import sidefile
from bmacdb.store.writer import Store
from tests.acceptance.support import Recorder
from tests.exchange.support import Answer, serving
from tests.simulated.support import running

NOWHERE = {"rest_url": "http://127.0.0.1:1", "ws_url": "ws://127.0.0.1:1", "feeds": ("usdt_perp_1m",)}


async def examined(directory: Path, environ: Mapping[str, str] | None = None, **flags: object) -> dict[str, Finding]:
    """The findings by name; of several by one name the worst."""
    found: dict[str, Finding] = {}
    async for finding in examine(directory, flags, patience_s=60.0, environ=environ or {}):
        if finding.name not in found or worst([finding, found[finding.name]]) is finding.level:
            found[finding.name] = finding
    return found


async def test_a_sound_machine_and_exchange_have_nothing_wrong(tmp_path: Path) -> None:
    """All markets when no feed is named: REST, weight, symbols and the first frame of each, and nothing is created."""
    async with running(symbols=4, updates_per_second=5.0) as client:
        exchange = client.exchange
        found = await examined(tmp_path, rest_url=exchange.rest_url, ws_url=exchange.ws_url)
    assert {finding.name: finding.text for finding in found.values() if finding.level is Level.FAIL} == {}
    for market in ("spot", "usdt_futures", "coin_futures"):
        assert "answers within" in found[f"{market} REST"].text
        assert "of " in found[f"{market} weight"].text
        assert "the first frame of" in found[f"{market} websocket"].text
    assert "the first start creates it" in found["database"].text
    assert os.listdir(tmp_path) == []


async def test_a_clock_that_is_wrong_is_told(tmp_path: Path) -> None:
    """The stand-in lives in another year: recording would be right all the same."""
    async with running(symbols=2, start_ms=SystemClock().now_ms() - 86_400_000, updates_per_second=5.0) as client:
        exchange = client.exchange
        found = await examined(tmp_path, rest_url=exchange.rest_url, ws_url=exchange.ws_url, feeds=("usdt_perp_1m",))
    assert found["clock"].level is Level.WARN
    assert "s ahead of the exchange" in found["clock"].text
    assert "time synchronisation" in found["clock"].remedy


async def test_an_exchange_that_cannot_be_reached_fails_with_what_to_check(tmp_path: Path) -> None:
    """Network first, and a proxy."""
    found = await examined(tmp_path, **NOWHERE)
    assert found["usdt_futures REST"].level is Level.FAIL
    assert "--proxy" in found["usdt_futures REST"].remedy


@pytest.mark.parametrize(
    ("answer", "told", "remedy"),
    [
        (Answer(b"Service unavailable from a restricted location", 451), "451", "another network"),
        (Answer({"code": -1003, "msg": "banned"}, 418, {"Retry-After": "600"}), "banned", "Wait until then"),
        (Answer(b"<html>hello</html>"), "", "Check network"),
    ],
    ids=["blocked", "banned", "not the exchange"],
)
async def test_what_the_exchange_answers_is_explained(tmp_path: Path, answer: Answer, told: str, remedy: str) -> None:
    """A country that is not served, a ban, and a page of somebody else."""
    async with serving(answer) as server:
        found = await examined(
            tmp_path, rest_url=server.url, ws_url=server.url.replace("http", "ws"), feeds=("usdt_perp_1m",)
        )
    assert found["usdt_futures REST"].level is Level.FAIL
    assert told in found["usdt_futures REST"].text
    assert remedy in found["usdt_futures REST"].remedy


async def test_symbols_that_do_not_trade_are_named(tmp_path: Path) -> None:
    """A typo in keep_symbols: a warning while others trade, a failure when none does."""
    async with running(symbols=4, updates_per_second=5.0) as client:
        urls = {"rest_url": client.exchange.rest_url, "ws_url": client.exchange.ws_url, "feeds": ("usdt_perp_1m",)}
        some = await examined(tmp_path, keep_symbols="BTCUSDT,BTCUSTD", **urls)
        none = await examined(tmp_path, keep_symbols="BTCUSTD", **urls)
    assert some["usdt_perp_1m"].level is Level.WARN
    assert "BTCUSTD" in some["usdt_perp_1m"].text
    assert none["usdt_perp_1m"].level is Level.FAIL


async def test_wrong_settings_are_told_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    """With the place and the nearest valid value; secrets stay secret."""
    (tmp_path / "bmacdb.toml").write_text('num_candels = 5\nalerts = ["dingtalk://hush"]\n')
    found = await examined(tmp_path, **NOWHERE)
    assert found["settings"].level is Level.FAIL
    assert "Did you mean num_candles?" in found["settings"].text
    assert "disk" in found
    (tmp_path / "bmacdb.toml").write_text('alerts = ["dingtalk://hush@hush-hush"]\nsave_type = "parquet"\n')
    found = await examined(tmp_path, **NOWHERE)
    assert found["settings"].level is Level.WARN
    assert found["alerts"].level is Level.FAIL
    assert not [finding for finding in found.values() if "hush" in f"{finding.text}{finding.remedy}"]


async def test_a_silent_path_of_coin_futures_is_told_with_the_one_that_sends(tmp_path: Path) -> None:
    """The doctor tries both, as the recorder does."""
    async with running(symbols=4, updates_per_second=5.0, coin_paths="unrouted") as client:
        rest, ws = client.exchange.rest_urls[Market.COIN_FUTURES], client.exchange.ws_urls[Market.COIN_FUTURES]
        urls = {"coin_futures_rest_url": rest, "coin_futures_ws_url": ws, "feeds": ("coin_perp_1m",)}
        findings = {finding.name: finding async for finding in examine(tmp_path, urls, patience_s=2.0, environ={})}
    found = findings["coin_futures websocket"]
    assert found.level is Level.OK
    assert found.text.startswith(f"{ws}/stream sends")
    assert f"{ws}/market/stream acknowledges streams and sends nothing" in found.text


async def test_a_proxy_is_shown_without_its_password(tmp_path: Path) -> None:
    """And alerts with the names of their services alone."""
    flags = NOWHERE | {"proxy": "http://me:hush@127.0.0.1:2", "alerts": "json://127.0.0.1/hush"}
    found = await examined(tmp_path, **flags)
    assert found["proxy"].text == "http://***@127.0.0.1:2 is used"
    assert found["alerts"].text.startswith("go to JSON")
    assert not [finding for finding in found.values() if "hush" in f"{finding.text}{finding.remedy}"]


def level_of(name: str, findings: list[Finding]) -> Level:
    return worst(finding for finding in findings if finding.name == name)


def test_this_machine_can_record(tmp_path: Path) -> None:
    """The extensions of the wheels load, and the directory can be written."""
    findings = list(look_at_machine(tmp_path / "bmac.duckdb"))
    assert level_of("extensions", findings) is Level.OK
    assert level_of("disk", findings) is not Level.FAIL
    assert list(tmp_path.iterdir()) == []
    assert level_of("disk", list(look_at_machine(tmp_path / "nowhere" / "bmac.duckdb"))) is Level.FAIL


async def test_a_file_at_rest_is_sound_and_one_of_something_else_is_not(tmp_path: Path) -> None:
    """Neither is changed by the look."""
    mine, other, text = tmp_path / "mine.duckdb", tmp_path / "other.duckdb", tmp_path / "text.duckdb"
    store = await Store.open(mine, clock=SystemClock())
    await store.close()
    with duckdb.connect(other) as connection:
        connection.execute("CREATE TABLE notes (line VARCHAR)")
    text.write_text("hello " * 1000)
    assert level_of("database", list(look_at_database(mine))) is Level.OK
    assert level_of("database", list(look_at_database(other))) is Level.FAIL
    assert level_of("database", list(look_at_database(text))) is Level.FAIL


def test_a_file_that_another_process_holds_is_told_with_its_process(tmp_path: Path) -> None:
    """So that it can be stopped, or left alone."""
    database = tmp_path / "bmac.duckdb"
    code = f"import duckdb, sys; c = duckdb.connect({str(database)!r}); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        (finding,) = look_at_database(database)
        holder.kill()
    assert finding.level is Level.FAIL
    assert "is held by" in finding.text


def test_a_recorder_that_was_killed_is_told(tmp_path: Path) -> None:
    """Its side file is still there, and its process is not."""
    database = tmp_path / "bmac.duckdb"
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    sidefile.write(database, sidefile.Live(1, 2, "token", gone.pid, 0.0, 0, "0.1.0"))
    findings = list(look_at_database(database))
    assert level_of("recorder", findings) is Level.WARN
    assert "gone without a goodbye" in findings[0].text


async def test_a_recorder_that_is_alive_tells_of_itself(tmp_path: Path) -> None:
    """Its process, feeds, memory and weight; and the command's lines are JSON with status 0."""
    async with running(symbols=3, speed=60.0, updates_per_second=5.0) as client:
        arguments = ("--feed", "usdt_perp_1m", "--num-candles", "20")
        async with Recorder(client.exchange, tmp_path, arguments) as recorder:
            await recorder.until("run_complete")
            urls = ("--rest-url", client.exchange.rest_url, "--ws-url", client.exchange.ws_url)
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "bmacdb.cli.main", "doctor", str(tmp_path), "--feed", "usdt_perp_1m"),
                *("--format", "json", "--patience", "60", *urls),
                stdout=asyncio.subprocess.PIPE,
            )
            printed, _ = await process.communicate()
            await recorder.stop()
    lines = [json.loads(line) for line in printed.decode().splitlines()]
    assert process.returncode == 0, lines
    (alive,) = [line for line in lines if line["name"] == "recorder"]
    assert "is alive: usdt_perp_1m" in alive["text"]
    assert "futures weight" in alive["text"]


def test_the_worst_finding_decides() -> None:
    """One failure among a hundred good lines is a failure."""
    assert worst([]) is Level.OK
    assert worst([ok("a", ""), warn("b", "")]) is Level.WARN
    assert worst([ok("a", ""), fail("c", ""), warn("b", "")]) is Level.FAIL
