"""Factors in any shell: as macros in the database, and as a statement that can be pasted."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

import bmacdb
from bmacdb.clock import SystemClock
from bmacdb.errors import QueryRefused, StoreError
from bmacdb.factors.library import Library, bundled
from bmacdb.factors.macros import macros
from bmacdb.factors.statement import statement
from bmacdb.factors.texts import factor_texts, made_elsewhere, version_of, written
from bmacdb.kit import compute
from bmacdb.kit.database import DatabaseSource
from bmacdb.store.serve import Server
from bmacdb.symbols import parse_feed
from tests.factor.support import FEED, START_MS, at, create, database, rough_market, stored

STEP = 300_000
BARS = 120
OTHER = "usdt_perp_1h"
SHORT = {"Macd": "3,6,4"}
WITHOUT = ["Alpha003", "Alpha028"]
"""Parameters; two of the formulas that have none stand for all."""
PLAIN = [name for name in factor_texts() if not name.startswith(("Alpha", "Cs"))]
SHELL = shutil.which("duckdb", path=Path(sys.executable).parent) or shutil.which("duckdb")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with two feeds and the macros of the library, at rest."""
    file = tmp_path_factory.mktemp("macros") / "bmac.duckdb"
    connection = database(rough_market(BARS), path=str(file))
    create(connection, OTHER)
    connection.execute(
        f"INSERT INTO {FEED}.funding_rates SELECT symbol, open_time + INTERVAL '7 milliseconds', 'Regular', "
        f"(open - 50) / 1000, NULL FROM {FEED}.candles WHERE epoch_ms(open_time) % 3600000 = 0"
    )
    made, told = macros(factor_texts())
    assert told == []
    for text in written(made, [parse_feed(FEED), parse_feed(OTHER)]):
        connection.execute(text)
    connection.close()
    return file


@pytest.fixture(scope="module")
def panel(path: Path) -> pd.DataFrame:
    factors = [*((name, SHORT.get(name, 7)) for name in PLAIN), *WITHOUT]
    with duckdb.connect(str(path), read_only=True) as connection:
        found = compute(connection, factors, None, at(START_MS + STEP), at(START_MS + BARS * STEP), feed=FEED)
    return found.reset_index().sort_values(["symbol", "candle_begin_time"], ignore_index=True)


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> pd.DataFrame:
    found: pd.DataFrame = connection.execute(query).to_arrow_table().to_pandas()
    return found.sort_values(["symbol", "open_time"], ignore_index=True)


@pytest.mark.parametrize("name", [*PLAIN, *WITHOUT])
def test_the_macros_give_the_values_of_the_kit(path: Path, panel: pd.DataFrame, name: str) -> None:
    """Over the whole record, and within bounds; that of main with the feed in front."""
    given = "" if name in WITHOUT else SHORT.get(name, 7)
    column, comma = (name, "") if name in WITHOUT else (f"{name}_{given}", ", ")
    with duckdb.connect(str(path), read_only=True) as connection:
        connection.execute("SET TimeZone = 'Asia/Shanghai'")
        whole = _rows(connection, f"FROM {FEED}.{name}({given})")
        assert list(whole.columns) == ["symbol", "open_time", "value"]
        assert whole["symbol"].tolist() == panel["symbol"].tolist()
        wanted = panel[column].to_numpy(dtype=float)
        np.testing.assert_allclose(whole["value"].to_numpy(dtype=float), wanted, rtol=1e-9, atol=1e-9)
        since, until = START_MS + 80 * STEP, START_MS + 100 * STEP
        bounds = f"since := '{at(since)}', until := '{at(until)}'"
        some = _rows(connection, f"SELECT * EXCLUDE feed FROM {name}({given}{comma}{bounds}) WHERE feed = '{FEED}'")
        within = panel["candle_begin_time"].between(pd.Timestamp(at(since)), pd.Timestamp(at(until)))
        np.testing.assert_allclose(some["value"].to_numpy(dtype=float), wanted[within], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["FundingRate", "AmihudRank", "Kdj"])
@pytest.mark.skipif(SHELL is None, reason="no duckdb shell (pip install duckdb-cli)")
def test_the_printed_statement_can_be_pasted(path: Path, panel: pd.DataFrame, name: str) -> None:
    """Into the real shell, on the file: the values of that run time."""
    given = SHORT.get(name, 7)
    command = [
        sys.executable,
        "-m",
        "bmacdb.cli.main",
        "factors",
        "--db",
        str(path),
        "--feed",
        FEED,
        "--sql",
        f"{name}:{given}",
    ]
    last = START_MS + (BARS - 9) * STEP
    text = subprocess.run(
        [*command, "--run-time", at(last + STEP).isoformat()], check=True, capture_output=True, text=True
    ).stdout
    assert "WITH bars AS (" in text
    assert "WINDOW" in text
    shell = [str(SHELL), "-readonly", "-csv", str(path)]
    answer = subprocess.run(shell, input=text, check=True, capture_output=True, text=True, encoding="utf-8").stdout
    rows = list(csv.DictReader(io.StringIO(answer)))
    found = {row["symbol"]: float(row["value"]) if row["value"] not in ("", "NULL") else np.nan for row in rows}
    then = panel[panel["candle_begin_time"] == pd.Timestamp(at(last))].set_index("symbol")[f"{name}_{given}"]
    assert sorted(found) == sorted(then.index)
    np.testing.assert_allclose([found[symbol] for symbol in then.index], then, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("feed", ["usdt_perp_1mo", "usdt_perp_3d", "usdt_spot_1s"])
def test_bars_of_any_length_lie_on_the_grid(feed: str) -> None:
    """Months have their own lengths, weeks an anchor; in any time zone."""
    from tests.factor.support import candles

    interval = parse_feed(feed).interval
    frames = [candles("AUSDT", 40, seed=1, interval=interval.name, missing=[20])]
    connection = database(frames, feed=feed)
    connection.execute("SET TimeZone = 'America/New_York'")
    for text in written(macros({"Ma": factor_texts()["Ma"]})[0], [parse_feed(feed)]):
        connection.execute(text)
    assert connection.execute(f"SELECT count(*), count(close) FROM {feed}.bars()").fetchone() == (40, 39)
    first, last = interval.shift(START_MS, 30), interval.shift(START_MS, 39)
    bound = Library("there_is_no_package_of_this_name").plan(["Ma:15"]).sql[0]
    printed = _rows(connection, statement(bound, feed, interval, first, last))
    macro = _rows(connection, f"FROM {feed}.Ma(15, since := '{at(first)}')")
    pd.testing.assert_frame_equal(printed, macro, rtol=1e-12)
    connection.execute("SET TimeZone = 'UTC'")
    runs = at(interval.next(first)), at(interval.next(last))
    kit = compute(DatabaseSource.of(connection).connection, ["Ma:15"], None, *runs)
    np.testing.assert_allclose(printed["value"], kit["Ma_15"], rtol=1e-12)


async def test_a_store_has_the_macros_of_its_version(tmp_path: Path) -> None:
    """Made once, again when a factor has changed, those that are gone taken away; through a live recorder too."""
    store = await stored(tmp_path / "bmac.duckdb", rough_market(90))
    texts = {"Ma": factor_texts()["Ma"], "Own": "-- params: n int = 2\nts_rank(close, $n)\n"}
    asked: list[object] = []

    async def define() -> bool:
        def make(feeds: object) -> list[str]:
            asked.append(feeds)
            return written(macros(texts)[0], [parse_feed(FEED)])

        return await store.define(lambda feeds: version_of(texts, feeds), make)

    assert await define()
    assert not await define()
    del texts["Ma"]
    assert await define()
    assert asked == [[FEED], [FEED]]
    server = await Server.start(store, clock=SystemClock(), info=lambda: {"version": "test"})
    try:
        with bmacdb.connect(tmp_path / "bmac.duckdb") as conn:
            assert conn.live
            count = await _asked(conn, f"SELECT count(value) FROM {FEED}.Own(3, since := TIMESTAMPTZ '{at(START_MS)}')")
            assert count > 100
            assert await _asked(conn, "SELECT count(*) FROM Own() WHERE feed = 'usdt_perp_5m'") > 100
            assert (
                await _asked(conn, f"SELECT max(place) FROM (SELECT ts_argmax(close, 5) AS place FROM {FEED}.candles)")
                == 5
            )
            with pytest.raises(QueryRefused):
                await _asked(conn, f"SELECT count(*) FROM {FEED}.Ma()")
    finally:
        await server.close()
        await store.close()


async def _asked(conn: bmacdb.Reader, query: str) -> float:
    import asyncio

    def ask() -> float:
        return float(next(iter(conn.sql(query)))[0])

    return await asyncio.to_thread(ask)


def test_a_factor_that_cannot_be_a_macro_is_told_and_harms_no_other() -> None:
    """One that is wrong, and one with the name of a function of DuckDB's own."""
    texts = {"Bad": "-- x\nlead(close) OVER bars", "read_text": "-- x\nclose", "Ma": factor_texts()["Ma"]}
    templates, told = macros(texts)
    made = written(templates, [parse_feed(FEED)])
    assert any("Ma(" in text for text in made)
    assert not any("read_text" in text or "Bad" in text for text in made)
    assert "reads the future" in "".join(told)
    assert "a function of that name" in "".join(told)


def test_factors_across_the_market_see_all_symbols() -> None:
    """A statement for one symbol still ranks it in the market."""
    connection = database(rough_market(90))
    interval = parse_feed(FEED).interval
    last = START_MS + 50 * STEP
    bound = Library("there_is_no_package_of_this_name").plan(["CsRank:Ma:5"]).sql[0]
    alone = _rows(connection, statement(bound, FEED, interval, last, last, ["BUSDT"]))
    market = _rows(connection, statement(bound, FEED, interval, last, last))
    assert alone["symbol"].tolist() == ["BUSDT"]
    assert alone["value"].tolist() == market[market["symbol"] == "BUSDT"]["value"].tolist()
    assert bundled("CsRank").parameters[0].kind == "factor"


def test_macros_are_written_by_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same ones, and what lies in the working directory has no part in it."""
    (tmp_path / "sqlglot.py").write_text("raise SystemExit(7)", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    texts = {"Ma": factor_texts()["Ma"], "Bad": "-- x\nlead(close) OVER bars"}
    made = made_elsewhere(texts)
    assert made == macros(texts)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    assert made_elsewhere(texts) == made, "it is kept for the next new database"
    with pytest.raises(StoreError, match="cannot run"):
        made_elsewhere({"Ma": texts["Ma"]})
    [kept] = (tmp_path / "cache" / "bmacdb").iterdir()
    kept.write_text("[", encoding="utf-8")
    with pytest.raises(StoreError, match="cannot run"):
        made_elsewhere(texts)
