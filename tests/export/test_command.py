"""`bmacdb export`, as a user runs it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from bmacdb.cli.main import main
from bmacdb.config import load_settings
from bmacdb.errors import UsageError

from .support import SYMBOLS, recorded


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


async def test_the_predecessors_files_are_made_once(tmp_path: Path) -> None:
    store = await recorded(tmp_path / "bmac.duckdb")
    await store.close()
    done = bmacdb(tmp_path, "export", "out", "--layout", "bmac", "--symbols", "BTCUSDT,ETHUSDT")
    assert done.returncode == 0, done.stderr
    assert "2 symbols" in done.stderr
    assert len(pd.read_parquet(tmp_path / "out" / "usdt_perp_5m" / "BTCUSDT.pqt")) == 30, "the feed's num_candles"
    assert len(pd.read_parquet(tmp_path / "out" / "exginfo_5m" / "exginfo.pqt")) == 3
    earlier = bmacdb(
        tmp_path,
        *("export", "out", "--layout", "bmac", "--run-time", "2024-08-03T16:00:00+08:00", "--num-candles", "5"),
    )
    assert earlier.returncode == 0, earlier.stderr
    assert (tmp_path / "out" / "usdt_perp_5m" / "BTCUSDT_20240803_160000.ready").exists()
    assert len(pd.read_parquet(tmp_path / "out" / "usdt_perp_5m" / "BTCUSDT.pqt")) == 5


async def test_a_feed_named_as_the_predecessor_does_has_its_directories_called_so(tmp_path: Path) -> None:
    store = await recorded(tmp_path / "bmac.duckdb", runs=1)
    await store.close()
    done = bmacdb(tmp_path, "export", "out", "--layout", "bmac", "--feed", "usdt_swap_5m")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "usdt_swap_5m" / "BTCUSDT.pqt").exists()


async def test_a_table_leaves_as_one_file_or_one_for_each_symbol(tmp_path: Path) -> None:
    store = await recorded(tmp_path / "bmac.duckdb", runs=3)
    await store.close()
    assert bmacdb(tmp_path, "export", "x.csv", "--table", "funding_snapshots").returncode == 0
    assert len((tmp_path / "x.csv").read_text("utf-8").splitlines()) == 10
    assert bmacdb(tmp_path, "export", "per", "--per-symbol").returncode == 0
    for symbol in SYMBOLS:
        assert len(pd.read_parquet(tmp_path / "per" / f"{symbol}.parquet")) == 3


def test_a_good_file_is_not_replaced_by_an_empty_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A typo in a symbol, and times without candles, are errors, and the file that was there stays as it was."""

    async def fill() -> None:
        await (await recorded(tmp_path / "bmac.duckdb", runs=3)).close()

    def export(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["export", *arguments])
        return int(ended.value.code or 0), capsys.readouterr().err

    asyncio.run(fill())
    monkeypatch.chdir(tmp_path)
    assert export("btc.csv", "--symbols", "BTCUSDT")[0] == 0
    good = (tmp_path / "btc.csv").read_bytes()
    for arguments, expected, told in (
        (("btc.csv", "--symbols", "BTCUSTD"), 2, "usdt_perp_5m has no symbol BTCUSTD (did you mean BTCUSDT?)"),
        (("btc.csv", "--symbols", "BTCUSDT,XX"), 2, "no symbol XX"),
        (("btc.csv", "--symbols", "BTCUSDT", "--start", "2030-01-01"), 1, "nothing was written"),
        (("per", "--per-symbol", "--symbols", "BTCUSTD"), 2, "did you mean BTCUSDT?"),
        (("out", "--layout", "bmac", "--symbols", "BTCUSTD"), 2, "did you mean BTCUSDT?"),
    ):
        status, message = export(*arguments)
        assert status == expected, message
        assert told in message
    assert (tmp_path / "btc.csv").read_bytes() == good
    assert set(os.listdir(tmp_path)) == {"bmac.duckdb", "btc.csv"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["x.foo"], "the format is not clear from x.foo"),
        (["out", "--layout", "bmca"], "--layout 'bmca' is not known"),
        (["out", "--layout", "bmac", "--start", "2024-01-01"], "takes no --start"),
        (["out", "--layout", "bmac", "--format", "csv"], "not one of parquet, feather"),
        (["out", "--layout", "bmac", "--run-time", "2024-08-03T16:01:00+08:00"], "is no boundary of 5m"),
        (["x.csv", "--run-time", "2024-08-03"], "are for --layout bmac"),
        (["x.csv", "--table", "candels"], "Did you mean candles?"),
        (["x.csv", "--feed", "usdt_perp_1m"], "'usdt_perp_1m' is not one of"),
        ([".", "--format", "csv"], "is a directory"),
    ],
)
def test_a_slip_is_told(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    told: str,
) -> None:
    async def fill() -> None:
        store = await recorded(tmp_path / "bmac.duckdb", runs=1)
        await store.close()

    asyncio.run(fill())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["export", *arguments])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_settings_know_where_files_are_kept(tmp_path: Path) -> None:
    """In a file the directory counts from where the file is; save_type has a meaning then."""
    (tmp_path / "bmacdb.toml").write_text(
        'feeds = ["usdt_perp_5m"]\nexport_dir = "files"\nlayout = "bmac"\nsave_type = "feather"\n'
    )
    settings = load_settings(tmp_path, {}, {})
    assert settings.export_dir == tmp_path / "files"
    assert settings.save_type == "feather"
    assert settings.warnings == ()
    assert load_settings(tmp_path, {"export_dir": "here"}, {}).export_dir == Path("here")
    with pytest.raises(UsageError, match=r"layout.*Did you mean bmac"):
        load_settings(tmp_path, {"layout": "bmca"}, {})
