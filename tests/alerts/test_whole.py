"""Alerts of a whole recorder, and the command that tries them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmacdb.cli.main import main
from bmacdb.simulated import SimulatedExchange, parse_fault
from tests.acceptance.support import Recorder
from tests.alerts.support import receiving

FEED = "usdt_perp_1m"


async def test_a_bad_quarter_of_an_hour_is_a_message_or_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stragglers, a ban, silent streams, a listing and the end of it all, told while it happened and grouped."""
    with receiving() as receiver:
        monkeypatch.setenv("BMACDB_ALERTS", receiver.url.replace("http", "json"))
        async with (
            SimulatedExchange(symbols=6, speed=30.0, seed=5) as exchange,
            Recorder(exchange, tmp_path, ["--feed", FEED, "--num-candles", "30"]) as recorder,
        ):
            await recorder.until("run_complete")
            now_ms = exchange.clock.now_ms()
            for fault in (
                "lost:1,for=130",
                "rest:1,status=503,endpoint=klines,for=130",
                "rest:1,status=418,retry_after=30,times=1,after=140",
                "mute:1,after=140,for=60",
                "listing,market=usdt_futures,symbol=NEWUSDT,after=150",
            ):
                exchange.inject(parse_fault(fault, now_ms=now_ms))
            await recorder.until("run_late")
            await recorder.until("symbols_changed")
            done = len(recorder.told("run_complete"))
            await recorder.until("run_complete", done + 3)
            await recorder.until_whole()
            assert await recorder.stop() == 0, recorder.story()
    text = "\n".join(body["message"] for body in receiver.bodies)
    assert "missing at the deadline" in text, text
    assert "whole again" in text or "on time again" in text, text
    assert "banned" in text, text
    assert f"{FEED}: listed NEWUSDT" in text, text
    assert len(receiver.bodies) <= 3
    assert not [event for event in recorder.told("notice") if event["topic"] == "alerts"]


async def test_a_recorder_that_cannot_start_alerts_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of something else, at three in the morning: the reason is in the message."""
    (tmp_path / "bmac.duckdb").write_text("hello " * 1000)
    with receiving() as receiver:
        monkeypatch.setenv("BMACDB_ALERTS", receiver.url.replace("http", "json"))
        async with SimulatedExchange(symbols=2) as exchange, Recorder(exchange, tmp_path, ["--feed", FEED]) as recorder:
            assert await recorder.ended() == 1
    (body,) = receiver.bodies
    assert "the recorder ended:" in body["message"]
    assert "no DuckDB database" in body["message"]
    assert body["type"] == "failure"


def called(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return int(caught.value.code or 0)


def test_the_command_tries_every_target(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line for each on stdout, status 1 when one failed, and no address anywhere."""
    with receiving() as good, receiving(status=500) as bad:
        urls = [one.url.replace("http", "json") + "/hushhush" for one in (good, bad)]
        (tmp_path / "bmacdb.toml").write_text(f'alerts = ["{urls[0]}"]\n')
        assert called("alerts", "test", str(tmp_path)) == 0
        assert capsys.readouterr() == ("sent   JSON\n", "")
        (tmp_path / "urls").write_text("\n".join(urls))
        assert called("alerts", "test", str(tmp_path), "--alerts", f"@{tmp_path / 'urls'}") == 1
        out, err = capsys.readouterr()
    assert out.startswith("sent   JSON 1\nFAILED JSON 2 did not take it: ")
    assert "500" in out
    assert "hushhush" not in out + err
    assert [body["message"] for body in good.bodies] == ["● This is a test: alerts will come here."] * 2


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("", "no target for alerts is set"),
        ('alerts = ["hushhush"]', "a list of apprise URLs"),
        ('alerts = ["jsno://hushhush"]', "jsno://…"),
        ("alerts = 5", "a list of apprise URLs"),
        ('alerts = "@nowhere"', "cannot read the file nowhere"),
        ('dingding = {error = {secret = "hushhush"}}', "needs its access_token"),
    ],
)
def test_targets_that_cannot_be_used_are_wrong_usage(
    line: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2, with what is expected and without what was given."""
    (tmp_path / "bmacdb.toml").write_text(line + "\n")
    assert called("alerts", "test", str(tmp_path)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err
    assert "hushhush" not in err
