"""`bmacdb resample` and `bmacdb run --resample`, as a user runs them."""

from __future__ import annotations

import asyncio
import csv
import io
import subprocess
import sys
from pathlib import Path

import pytest

from bmacdb.cli.main import main
from bmacdb.config import load_settings
from bmacdb.errors import UsageError
from bmacdb.model import Batch, Candle, Source
from bmacdb.offset import Resampling
from bmacdb.simulated import SimulatedExchange
from bmacdb.symbols import parse_feed
from tests.acceptance.support import Recorder, query

from .support import FEED, HOURS, STEP_MS, T0, by_hand, candle, kept, open_store, same


def bmacdb(where: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bmacdb.cli.main", *arguments],
        cwd=where,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=100,
        check=False,
    )


async def filled(path: Path, bars: int = 30) -> list[Candle]:
    store = await open_store(path)
    candles = [candle(symbol, T0 + place * STEP_MS) for symbol in ("BTCUSDT", "ETHUSDT") for place in range(bars)]
    await store.commit(Batch(FEED.name, T0, tuple(candles)))
    await store.close()
    return candles


async def test_an_unknown_symbol_is_told_and_no_file_touched(tmp_path: Path) -> None:
    """A typo in --symbols is an error with the nearest name, and the output of an earlier run stays."""
    await filled(tmp_path / "bmac.duckdb")
    (tmp_path / "bars.csv").write_text("good", "utf-8")
    asked = ("resample", "--from", "5m", "--to", "1h", "--symbols", "BTCUSTD")
    for more in (("-o", "bars.csv", "--format", "csv"), ("--store",)):
        done = bmacdb(tmp_path, *asked, *more)
        assert done.returncode == 2
        assert "did you mean BTCUSDT?" in done.stderr
    assert (tmp_path / "bars.csv").read_text("utf-8") == "good"


async def test_bars_are_printed_as_asked_for(tmp_path: Path) -> None:
    candles = await filled(tmp_path / "bmac.duckdb")
    done = bmacdb(
        tmp_path,
        *("resample", "--from", "5m", "--to", "1h", "--offsets", "0,30", "--symbols", "btcusdt", "--format", "csv"),
    )
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    theirs = by_hand(candles, Resampling.of(FEED, "1h", [0, 30]))
    assert [(row["symbol"], int(row["offset"]), float(row["close"])) for row in rows] == [
        (symbol, bar[0], bar[4]) for (symbol, _), bar in sorted(theirs.items()) if symbol == "BTCUSDT"
    ]
    assert not query(tmp_path / "bmac.duckdb", "SELECT 1 FROM duckdb_schemas() WHERE schema_name LIKE '%_to_%'")


async def test_bars_are_kept_and_a_second_time_changes_nothing(tmp_path: Path) -> None:
    candles = await filled(tmp_path / "bmac.duckdb")
    for _ in range(2):
        done = bmacdb(tmp_path, "resample", "--to", "1h", "--store")
        assert done.returncode == 0, done.stderr
        assert "38 bars" in done.stderr
        assert done.stdout == ""
    store = await open_store(tmp_path / "bmac.duckdb")
    same(await store.run(lambda con: kept(con, f"{HOURS.name}.candles")), by_hand(candles, HOURS))
    await store.close()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--to", "7h"], "interval '7h'"),
        (["--to", "1m"], "1m is not longer than 5m"),
        (["--to", "1h", "--offsets", "0,x"], "--offsets '0,x' is not a list of minutes"),
        (["--to", "1h", "--offsets", "3"], "offset 3 is none of"),
        (["--to", "1h", "--from", "1m"], "holds no feed of 1m (usdt_perp_5m)"),
        (["--to", "1h", "--feed", "usdt_spot_5m"], "'usdt_spot_5m' is not one of usdt_perp_5m"),
        (["--to", "1h", "--start", "soon"], "--start 'soon' is not an ISO time"),
        (["--to", "1h", "--start", "2024-01-02", "--end", "2024-01-01"], "is not after --start"),
        (["--to", "1h", "--format", "xls"], "--format 'xls'"),
    ],
)
def test_a_slip_is_told_and_nothing_is_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    asyncio.run(filled(tmp_path / "bmac.duckdb", bars=1))
    with pytest.raises(SystemExit) as ended:
        main(["resample", "--db", str(tmp_path / "bmac.duckdb"), *arguments])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_what_is_to_be_made_is_checked_with_the_other_settings(tmp_path: Path) -> None:
    flags = {"feeds": ("usdt_perp_5m", "usdt_spot_1m")}
    settings = load_settings(tmp_path, flags | {"resample": ("1h", "usdt_spot_1m->5m")}, {})
    names = ["usdt_perp_5m_to_1h", "usdt_spot_1m_to_1h", "usdt_spot_1m_to_5m"]
    assert [one.name for one in settings.resample] == names
    assert ("resample", ", ".join(names)) in settings.shown()
    (tmp_path / "bmacdb.toml").write_text('feeds = ["usdt_perp_5m"]\nresample = ["1h", "1d"]\n')
    assert len(load_settings(tmp_path, {}, {}).resample) == 2
    assert len(load_settings(tmp_path, {}, {"BMACDB_RESAMPLE": "15m,30m,1h"}).resample) == 3
    for wrong, told in (
        (("7m",), "--resample: interval '7m'"),
        (("usdt_perp_1m->1h",), "usdt_perp_1m is not recorded"),
        (("1M",), "months differ"),
    ):
        with pytest.raises(UsageError, match=told):
            load_settings(tmp_path, flags | {"resample": wrong}, {})


async def test_a_recorder_makes_bars_and_files_beside_its_candles(tmp_path: Path) -> None:
    """The bars are those that its candles make, every run time has its files, and nothing is amiss."""
    feed = parse_feed("usdt_perp_1m")
    resampling = Resampling.of(feed, "5m")
    async with (
        SimulatedExchange(symbols=6, speed=30.0) as exchange,
        Recorder(
            exchange,
            tmp_path,
            [
                *("--feed", feed.name, "--num-candles", "120", "--periods", "3", "--funding-rate"),
                *("--resample", "5m", "--export-dir", str(tmp_path / "files")),
            ],
        ) as recorder,
    ):
        assert await recorder.ended() == 0, recorder.story()
        notices = [event for event in recorder.told("notice") if event.get("topic") in ("resample", "export")]
        assert notices == []
    rows = query(
        recorder.database,
        "SELECT symbol, epoch_ms(open_time), open, high, low, close, volume, quote_volume, trade_num, "
        "taker_buy_base_asset_volume, taker_buy_quote_asset_volume FROM usdt_perp_1m.candles",
    )
    candles = [Candle(*row, Source.REST) for row in rows]  # type: ignore[arg-type]
    theirs = by_hand(candles, resampling)
    # Of the window; what a page brought beyond it is not made.
    runs = query(recorder.database, "SELECT epoch_ms(run_time) FROM usdt_perp_1m.runs WHERE complete_at IS NOT NULL")
    (done,) = zip(
        *query(recorder.database, f"SELECT epoch_ms(run_time) FROM {resampling.name}.runs ORDER BY 1"), strict=True
    )
    assert set(done) >= {run for (run,) in runs}
    bars = {
        row[0:2]: row[2:]
        for row in query(
            recorder.database,
            f"SELECT symbol, epoch_ms(open_time), open, high, low, close FROM {resampling.name}.candles",
        )
    }
    for run_time_ms in done:
        assert isinstance(run_time_ms, int)
        ending = {key for key in theirs if key[1] == run_time_ms - resampling.to.length_ms}
        assert len(ending) == 6
        for key in ending:
            assert bars[key] == theirs[key][1:5]
    ready = list((tmp_path / "files" / "usdt_perp_1m").glob("*.ready"))
    assert len(ready) == 6
