"""`bmacdb factors`: the library, the market at a run time, and at each as it completes."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq
import pytest

from bmacdb.cli.main import main
from bmacdb.clock import ManualClock
from bmacdb.factors.library import Library
from bmacdb.kit.database import DatabaseSource
from bmacdb.kit.market import Market, describe
from bmacdb.store.reader import connect
from tests.factor.support import START_MS, batches, candles, stored

STEP = 300_000
BARS = 60


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory with a database at rest."""

    async def fill() -> None:
        frames = [candles(name, BARS, seed=seed) for seed, name in enumerate(("AUSDT", "BUSDT", "CUSDT"))]
        await (await stored(tmp_path / "bmac.duckdb", frames)).close()

    asyncio.run(fill())
    return tmp_path


@pytest.fixture(autouse=True)
def _path() -> Iterator[None]:
    before = list(sys.path)
    yield
    sys.path[:] = before


def _run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["factors", *map(str, arguments)])
    return int(ended.value.code or 0)


def test_the_latest_run_time_sorted(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Largest first, only the first rows, one column per factor; JSON on stdout and nothing else."""
    asked = ("--factor", "PctChg:10", "--factor", "Rsi:5", "--format", "json")
    status = _run(home, *asked, "--sort", "PctChg_10", "--top", 2)
    rows = json.loads(capsys.readouterr().out)
    assert status == 0
    assert [list(row) for row in rows] == [["run_time", "symbol", "close", "PctChg_10", "Rsi_5"]] * 2
    assert rows[0]["PctChg_10"] > rows[1]["PctChg_10"]
    assert rows[0]["run_time"] == "2026-01-01T05:00:00+00:00"


def test_a_run_time_of_the_past_of_one_symbol(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An ISO time with a zone, or in UTC without; written to a file."""
    target = home / "out.parquet"
    asked = ("--factor", "PctChg:3", "--symbol", "BUSDT", "--format", "parquet", "-o", target)
    for moment in ("2026-01-01T10:00:00+08:00", "2026-01-01T02:00"):
        assert _run(home, "--run-time", moment, *asked) == 0
        table = pq.read_table(target)
        assert table.column("symbol").to_pylist() == ["BUSDT"]
        close = candles("BUSDT", BARS, seed=1)["close"]
        assert table.column("PctChg_3")[0].as_py() == close[23] / close[20] - 1
    assert capsys.readouterr().out == ""


def test_the_factor_set_may_stand_in_the_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """[factors] of bmacdb.toml, with factors of one's own beside it."""
    (home / "mine").mkdir()
    (home / "mine" / "Double.py").write_text(
        "LOOKBACK = 1\ndef signal(*args):\n    df = args[0]\n    df[args[2]] = df['close'] * 2\n    return df\n"
    )
    (home / "bmacdb.toml").write_text('[factors]\nfactors = ["Ma:1", ["Double", 1]]\npackage = "mine"\n')
    assert _run(home, "--format", "json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert all(row["Double_1"] == 2 * row["close"] == 2 * row["Ma_1"] for row in rows)
    (home / "bmacdb.toml").write_text('[factors]\nfactor = ["Ma:1"]\n')
    assert _run(home) == 2
    assert "Did you mean factors?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--factor", "PctCgh:5"], "Did you mean PctChg"),
        (["--factor", "PctChg:x"], "not an integer"),
        (["--factor", "PctChg:5", "--run-time", "yesterday"], "neither `latest` nor an ISO time"),
        (["--factor", "PctChg:5", "--run-time", "2026-01-01T02:01"], "no boundary of 5m"),
        (["--factor", "PctChg:5", "--run-time", "2027-01-01"], "no candle at run time"),
        (["--factor", "PctChg:5", "--symbol", "AUSTD"], "did you mean AUSDT"),
        (["--factor", "PctChg:5", "--sort", "PctChg_6"], "Did you mean"),
        (["--factor", "PctChg:5", "--feed", "usdt_perp_1h"], "usdt_perp_5m"),
        (["--factor", "PctChg:5", "--format", "xml"], "xml"),
        ([], "no factor was asked for"),
    ],
)
def test_wrong_usage_ends_with_2_and_a_remedy(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    """Nothing is printed but the message."""
    assert _run(home, *arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert says in told.err


def test_a_symbol_that_is_not_there_is_refused_beside_one_that_is(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The nearest name is told, and the file that was there stays as it was."""
    target = home / "out.csv"
    target.write_text("good")
    asked = ("--factor", "PctChg:3", "--symbol", "AUSDT", "--symbol", "BUSTD", "--format", "csv", "-o", target)
    assert _run(home, *asked) == 2
    assert "usdt_perp_5m has no symbol BUSTD (did you mean BUSDT" in capsys.readouterr().err
    assert target.read_text() == "good"


def test_all_times_of_an_output_are_in_one_zone(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of --timezone, BMACDB_TIMEZONE or bmacdb.toml, in this order; what programs read stays in UTC."""

    def times(*options: str) -> set[str]:
        assert _run(home, "--factor", "PctChg:10", "--run-time", "2026-01-01T05:00Z", *options) == 0
        told = capsys.readouterr()
        return set(re.findall(r"2026-01-01[ T][0-9:.]+[+-][0-9:]+", told.out + told.err))

    (home / "bmacdb.toml").write_text('timezone = "Asia/Tokyo"\n')
    assert times() == {"2026-01-01 14:00:00+09:00"}
    monkeypatch.setenv("BMACDB_TIMEZONE", "Asia/Shanghai")
    assert times() == {"2026-01-01 13:00:00+08:00"}
    assert times("--timezone", "Asia/Kolkata") == {"2026-01-01 10:30:00+05:30"}
    assert times("--format", "csv") == {"2026-01-01T05:00:00+00:00"}
    assert _run(home, "--factor", "PctChg:10", "--run-time", "2027-01-01") == 2
    told = capsys.readouterr().err
    assert "2027-01-01 08:00:00.000+08:00" in told
    assert "2026-01-01 13:00:00.000+08:00" in told
    assert _run(home, "--factor", "PctChg:10", "--timezone", "Asia/Shanghia") == 2
    assert "--timezone" in (told := capsys.readouterr().err)
    assert "Did you mean Asia/Shanghai?" in told


def test_a_failing_factor_is_told_and_the_rest_printed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table on stdout with nulls, the traceback once on stderr, status 1."""
    (home / "mine").mkdir()
    (home / "mine" / "Bad.py").write_text("def signal(*args):\n    raise ValueError('no good')\n")
    asked = ("--package", "mine", "--factor", "Bad:1", "--factor", "Ma:3", "--format", "json")
    assert _run(home, *asked) == 1
    told = capsys.readouterr()
    assert all(row["Bad_1"] is None and row["Ma_3"] for row in json.loads(told.out))
    assert told.err.count("ValueError: no good") == 1


def test_the_library_is_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every factor with formula, source, look-back and what null means; one by name in full."""
    assert _run(tmp_path, "--list", "--format", "json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == len(Library().names()) >= 30
    assert all(row["formula"] and row["source"] and row["look_back"] and row["null"] for row in rows)
    assert _run(tmp_path, "--list", "--factor", "Rsi") == 0
    assert "Wilder" in capsys.readouterr().out
    assert _run(tmp_path, "--list", "--factor", "Rsx") == 2


async def test_watching_computes_each_run_time_as_it_completes(tmp_path: Path) -> None:
    """One table a period by the recorder's clock, with the line that says so."""
    from bmacdb.store.serve import Server

    frames = [candles(name, BARS, seed=seed) for seed, name in enumerate(("AUSDT", "BUSDT"))]
    path = tmp_path / "bmac.duckdb"
    store = await stored(path, [frame.iloc[:-2] for frame in frames])
    clock = ManualClock(START_MS + (BARS - 2) * STEP + 1_000)
    server = await Server.start(store, clock=clock, info=lambda: {"version": "test"})
    seen: list[str] = []
    first = threading.Event()

    def watch() -> None:
        with connect(path) as conn:
            market = Market(DatabaseSource.of(conn), Library().plan(["PctChg:5"]), zone=ZoneInfo("Asia/Shanghai"))
            for place, found in enumerate(market.watch(1e9)):
                seen.append(found.told[0])
                assert found.table.column("symbol").to_pylist() == ["AUSDT", "BUSDT"]
                first.set()
                if place == 1:
                    return

    watching = asyncio.ensure_future(asyncio.to_thread(watch))
    for number, batch in enumerate(batches([frame.iloc[-2:] for frame in frames])):
        await store.commit(batch)
        server.announce(batch)
        if number == 0:
            await asyncio.to_thread(first.wait, 60)
    await asyncio.wait_for(watching, 60)
    await server.close()
    await store.close()
    assert seen == [
        "Run time 2026-01-01 12:55:00.000+08:00: complete, 2 symbols computed.",
        "Run time 2026-01-01 13:00:00.000+08:00: complete, 2 symbols computed.",
    ]


def test_the_kit_is_not_imported_for_help() -> None:
    """`bmacdb factors --help` is light: neither pandas nor DuckDB is loaded."""
    code = (
        "import sys\nfrom bmacdb.cli.main import main\n"
        "try:\n    main(['factors', '--help'])\nexcept SystemExit:\n    pass\n"
        "assert not {'pandas', 'duckdb', 'pyarrow'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_page_lists_the_library_as_it_is() -> None:
    """docs/factors.md has the row of every bundled factor, from the factor's own file."""
    page = Path(__file__).parents[2] / "docs" / "factors.md"
    text = page.read_text("utf-8")
    library = Library("there_is_no_package_of_this_name")
    shown = ("factor", "parameters", "look_back", "formula", "null")
    rows = [describe(library, name) for name in library.names() if not name.startswith("Alpha")]  # told as one family
    lines = ["| " + " | ".join(row[key].replace("|", "\\|") for key in shown) + " |" for row in rows]
    assert [line for line in lines if line not in text] == []
