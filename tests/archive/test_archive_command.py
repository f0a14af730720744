"""`bmacdb history`, each verb as a user calls it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from bmacdb.cli.main import main
from bmacdb.interval import HOUR_MS

from .support import JANUARY_MS, LAST_DAY_MS, PERP, Scene, day_file, lines, scene, text, zipped


async def history(here: Scene, *arguments: str) -> int:
    """The exit status of `bmacdb history …` on the scene's record and archive."""

    def run() -> int:
        with pytest.raises(SystemExit) as ended:
            main(["history", *arguments, "--db", str(here.database)])
        return int(ended.value.code or 0)

    return await asyncio.to_thread(run)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BMACDB_ARCHIVE_URL", "BMACDB_REST_URL", "BMACDB_PROXY", "HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)


async def test_a_feed_from_nothing_to_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """List, download, import, a hole, its repair, agreement; what is asked for on stdout, the rest on stderr."""
    async with scene(tmp_path) as here:
        urls = ("--archive-url", here.exchange.archive_url, "--rest-url", here.exchange.rest_url)
        mine = ("--feed", PERP.name, "--symbols", "BTCUSDT", "--start", "2025-01")
        assert await history(here, "list", "--feed", PERP.name, *urls, "--format", "json") == 0
        symbols = [row["symbol"] for row in json.loads(capsys.readouterr().out)]
        assert {"BTCUSDT", "GONEUSDT"} <= set(symbols)
        assert not {"TSLAUSDT", "XAUUSDT"} & set(symbols), "the exchange was asked what they are"

        typo = ("--feed", PERP.name, "--symbols", "BTCUSTD")
        for verb in ("list", "download"):
            assert await history(here, verb, *typo, *urls) == 2
            assert "no symbol BTCUSTD (did you mean BTCUSDT" in capsys.readouterr().err
        assert not here.database.parent.joinpath("archive").exists()

        key = "data/futures/um/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01.zip"
        here.exchange.archive.wrong_checksums.add(key)
        assert await history(here, "download", *mine, *urls) == 1
        told = capsys.readouterr()
        assert "quarantined" in told.err
        assert "--force" in told.err
        assert await history(here, "download", *mine, *urls, "--force") == 0
        assert "10 have, 1 new" in capsys.readouterr().out
        assert await history(here, "list", *mine, *urls, "--files", "--format", "csv") == 0
        assert f"{key},BTCUSDT" in capsys.readouterr().out

        assert await history(here, "import", "--feed", PERP.name) == 0
        rows = (LAST_DAY_MS - JANUARY_MS) // HOUR_MS
        assert f"{rows + 3 * 31} rows of 11 files into usdt_perp_1h: {rows + 3 * 31} new" in capsys.readouterr().out
        here.change(f"DELETE FROM {PERP.name}.candles WHERE hour(open_time) = 7")
        assert await history(here, "verify", *mine, *urls, "--format", "json") == 1
        differing = json.loads(capsys.readouterr().out)
        for verb, more in (("import", ()), ("verify", urls), ("gaps", ()), ("fill", urls), ("split", ())):
            assert await history(here, verb, *typo, *more) == 2, verb
            assert "no symbol BTCUSTD (did you mean BTCUSDT" in capsys.readouterr().err
        assert len(differing) == 10
        assert await history(here, "gaps", *mine, "--format", "json") == 0
        holes = json.loads(capsys.readouterr().out)
        assert [(hole["bars"], hole["kind"]) for hole in holes] == [(1, "hole")] * 40
        assert await history(here, "fill", *mine, *urls) == 0
        assert "of 40 missing bars 40 came from the archive" in capsys.readouterr().out
        assert await history(here, "fill", *mine, *urls) == 0
        assert "nothing to fill" in capsys.readouterr().out
        assert await history(here, "verify", *mine, *urls) == 0
        assert "all agree" in capsys.readouterr().err
        assert here.recorded(PERP, "BTCUSDT") == here.truth(PERP, "BTCUSDT", JANUARY_MS, LAST_DAY_MS)


async def test_a_users_own_files_go_in_and_bad_ones_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By name, by directory; exit status 1 when one could not be read."""
    async with scene(tmp_path) as here:
        good = zipped(day_file(tmp_path), text(lines()))
        bad = day_file(tmp_path, day="2025-01-02")
        bad.write_bytes(good.read_bytes()[:-9])
        assert await history(here, "import", str(good), str(bad), "--feed", "usdt_spot_1h") == 1
        told = capsys.readouterr()
        assert "24 rows of 1 file into usdt_spot_1h: 24 new" in told.out
        assert "damaged" in told.err
        bad.unlink()
        assert await history(here, "import", str(tmp_path), "--feed", "usdt_spot_1h") == 0
        assert "0 new" in capsys.readouterr().out
        assert (
            await history(here, "split", "--feed", "usdt_spot_1h", "--name", "BTCUSDT", "--fill", "--format", "csv")
            == 0
        )
        assert len(capsys.readouterr().out.splitlines()) == 25


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("list", "--feed", "usdt_perp_7m"), "interval '7m'"),
        (("import",), "--feed is missing"),
        (("import", "--feed", "usdt_perp_1h"), "no file of usdt_perp_1h"),
        (("import", "nowhere.zip", "--feed", "usdt_perp_1h"), "does not exist"),
        (("download", "--feed", "usdt_perp_1h", "--start", "soon"), "--start 'soon' is no date"),
        (("download", "--feed", "usdt_perp_1h", "--start", "2025", "--end", "2024"), "nothing lies between"),
        (("download", "--feed", "usdt_perp_1h", "--archive-url", "x"), "--archive-url"),
        (("gaps", "--feed", "usdt_perp_1h", "--format", "pdf"), "--format 'pdf'"),
        (("split", "--feed", "usdt_perp_1h", "--fill"), "--name"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], problem: str
) -> None:
    """Exit status 2, the value seen, and no file made."""

    def run() -> object:
        with pytest.raises(SystemExit) as ended:
            main(["history", *arguments, "--db", str(tmp_path / "bmac.duckdb")])
        return ended.value.code

    assert run() == 2
    assert problem in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_no_record_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Holes of nothing: exit status 1."""
    with pytest.raises(SystemExit) as ended:
        main(["history", "gaps", "--feed", "usdt_perp_1h", "--db", str(tmp_path / "bmac.duckdb")])
    assert ended.value.code == 1
    assert "does not exist" in capsys.readouterr().err
