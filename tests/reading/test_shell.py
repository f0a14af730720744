# ruff: noqa: E501  # statements as they are typed
"""DuckDB's shell beside a live recorder: its rows are the recorder's, whatever feed is named and however."""

from __future__ import annotations

import asyncio
import csv
import io
import os
import re
import select
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import duckdb
import pytest

from bmacdb.cli.shell import attach_lines, find_shell, live_script
from bmacdb.clock import SystemClock
from bmacdb.model import Batch, Candle, Ready, Run, Source
from bmacdb.sql import queries
from bmacdb.store import guard
from bmacdb.store.reader import connect
from bmacdb.store.schema import FEED_TABLES
from bmacdb.store.serve import Server
from bmacdb.store.writer import Store
from bmacdb.symbols import make_feed
from tests.reading.conftest import Served
from tests.reading.feeding import FIRST_MS, MINUTE_MS

FEEDS = (make_feed("usdt_perp", "1m"), make_feed("usdt_spot", "1m"), make_feed("coin_perp", "5m"))
SYMBOLS = ("BTCUSDT", "ETHUSDT", "币安人生USDT")
MACROS = """
CREATE MACRO main.twice(x) AS x * 2;
CREATE MACRO usdt_perp_1m.Change(n := 1) AS TABLE
    SELECT symbol, open_time, close - lag(close, n) OVER (PARTITION BY symbol ORDER BY open_time) AS value
    FROM usdt_perp_1m.candles;
CREATE MACRO main.Change(n := 2) AS TABLE
    SELECT feed, symbol, open_time, close - lag(close, n) OVER (PARTITION BY feed, symbol ORDER BY open_time) AS value
    FROM main.candles;
CREATE MACRO main.Named(prefix, n := 1) AS TABLE
    SELECT prefix || symbol AS symbol, open_time, twice(close) * n AS value FROM usdt_spot_1m.candles;
"""
WRONG = "Multiple streaming scans"  # what Quack says to two attached tables in one query


def rows(number: int, feed_name: str) -> Batch:
    """Three periods of a feed whose prices tell which feed they are of."""
    length = 5 * MINUTE_MS if feed_name.endswith("5m") else MINUTE_MS
    first = -(-FIRST_MS // length) * length
    candles, ready, runs = [], [], []
    for place in range(3):
        run_time = first + (place + 1) * length
        for index, symbol in enumerate(SYMBOLS):
            close = 1000.0 * number + 10 * index + place
            candles.append(
                Candle(
                    symbol, run_time - length, close, close + 1, close - 1, close, 1.0, close, 5, 0.5, 1.0, Source.WS
                )
            )
            ready.append(Ready(run_time, symbol, run_time + 40, "ws"))
        runs.append(Run(run_time, 3, 3, run_time + 40, SYMBOLS[-1], 0, ()))
    return Batch(
        feed=feed_name, recorded_at_ms=run_time + 40, candles=tuple(candles), ready=tuple(ready), runs=tuple(runs)
    )


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[Served]:
    """A served database of three feeds, with macros."""
    store = await Store.open(tmp_path / "bmac.duckdb", clock=SystemClock())
    for feed in FEEDS:
        await store.add_feed(feed, num_candles=100)
    await store.run(lambda connection: connection.execute(MACROS))
    server = await Server.start(store, clock=SystemClock(), info=dict)
    found = Served(store, server)
    for number, feed in enumerate(FEEDS, 1):
        await found.commit(rows(number, feed.name))
    yield found
    await server.close()
    await store.close()


def shell() -> str:
    found = find_shell()
    if found is None:
        pytest.skip("the DuckDB shell is not installed")
    return found


async def typed(init: Path, *statements: str) -> list[tuple[list[list[str]], str]]:
    """What one shell answers to the statements in turn: rows with their head, errors."""
    command = [shell(), "-init", str(init), "-csv"]
    for statement in statements:
        command += ["-c", ".print ----", "-c", f"{statement};"]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate()
    answers = [list(csv.reader(io.StringIO(text))) for text in out.decode().split("----\n")[1:]]
    assert len(answers) == len(statements), (statements[len(answers) - 1], err.decode())
    return [(answer, err.decode()) for answer in answers]


async def test_an_attached_database_gives_the_rows_of_the_feed_that_is_named(three: Served, tmp_path: Path) -> None:
    """Attached by hand, each table of each feed and of main is itself, qualified, quoted or after USE; two in one query
    are refused in a sentence, and a table that is not there is an error."""
    live = three.server.live
    names = [f"{feed.name}.{table}" for feed in FEEDS for table in FEED_TABLES]
    with connect(three.path) as reader:
        names += [f"main.{name}" for (name,) in await asyncio.to_thread(lambda: reader.sql("SHOW TABLES").rows())]

        def look() -> None:
            connection = duckdb.connect()
            for line in attach_lines(live):
                connection.execute(line)
            connection.execute(f"SET TimeZone = 'UTC'; ATTACH '{live.uri}' AS db (TOKEN '{live.token}')")
            for name in names:
                place, _, table = name.partition(".")
                expected = reader.sql(f"FROM {name}").arrow()
                for spelled in (f"db.{name}", f'"db"."{place}"."{table}"', f"db.{place}.{table.upper()}"):
                    found = connection.execute(f"FROM {spelled}").to_arrow_table()
                    assert found.column_names == expected.column_names, spelled
                    assert sorted(map(str, found.to_pylist())) == sorted(map(str, expected.to_pylist())), spelled
            spot = [(2000.0,), (2001.0,), (2002.0,)]
            query = "SELECT close FROM {} WHERE symbol = 'BTCUSDT' ORDER BY close"
            assert connection.execute(query.format("db.usdt_spot_1m.candles")).fetchall() == spot
            connection.execute("USE db")
            assert connection.execute(query.format("usdt_spot_1m.candles")).fetchall() == spot
            connection.execute("USE db.usdt_spot_1m")
            assert connection.execute(query.format("candles")).fetchall() == spot
            with pytest.raises(duckdb.Error, match=WRONG):
                connection.execute("FROM db.usdt_spot_1m.candles JOIN db.usdt_perp_1m.candles USING (symbol)")
            with pytest.raises(duckdb.CatalogException):
                connection.execute("FROM db.usdt_spot_5m.candles")
            connection.close()

        await asyncio.to_thread(look)


ASKED = [
    "FROM usdt_spot_1m.candles ORDER BY ALL",
    "SELECT symbol, close FROM usdt_spot_1m.candles ORDER BY ALL",
    "SELECT close FROM usdt_spot_1m.candles c WHERE c.symbol = 'BTCUSDT' AND C.close > 2000.5 ORDER BY 1",
    "SELECT close FROM \"usdt_spot_1m\".Candles WHERE Symbol LIKE '币%' OR close = 2000 ORDER BY 1",
    "FROM candles WHERE feed = 'coin_perp_5m' AND symbol IN ('BTCUSDT', 'ETHUSDT') ORDER BY ALL",
    "SELECT feed, count(*), max(close) FROM candles GROUP BY feed ORDER BY feed",
    "FROM usdt_perp_1m.candles p JOIN usdt_spot_1m.candles s USING (symbol, open_time) ORDER BY ALL",
    "FROM usdt_perp_1m.candles a JOIN usdt_perp_1m.candles b USING (open_time) WHERE a.symbol = 'BTCUSDT' ORDER BY ALL",
    "FROM (FROM usdt_perp_1m.candles WHERE symbol = 'BTCUSDT') p JOIN (FROM usdt_spot_1m.candles WHERE close > 2011) s"
    " USING (open_time) ORDER BY ALL",
    "FROM usdt_perp_1m.candles p LEFT JOIN usdt_spot_1m.candles s ON p.close = s.close WHERE s.close IS NULL ORDER BY ALL",
    "SELECT close FROM usdt_spot_1m.candles WHERE close < 2001 UNION ALL "
    "SELECT close FROM usdt_perp_1m.candles WHERE close > 1020 ORDER BY 1",
    "SELECT close FROM usdt_spot_1m.candles WHERE close < 2001 UNION ALL "
    "SELECT close FROM usdt_spot_1m.candles WHERE close > 2020 ORDER BY 1",
    "WITH candles AS (FROM usdt_spot_1m.candles WHERE close > 2010) SELECT close FROM candles WHERE symbol = 'ETHUSDT' ORDER BY 1",
    "WITH a AS (FROM usdt_spot_1m.candles) SELECT x.close FROM a x, a y WHERE x.close = y.close AND x.close > 2011 ORDER BY 1",
    "SELECT symbol AS close FROM usdt_spot_1m.candles AS c(a, b, c, d, e, symbol) WHERE symbol > 2011 ORDER BY 1",
    "SELECT close * 2 AS doubled FROM usdt_spot_1m.candles WHERE doubled > 4020 ORDER BY 1",
    "SELECT close FROM usdt_spot_1m.candles c WHERE EXISTS (FROM usdt_perp_1m.candles WHERE close = c.close - 1000) ORDER BY 1",
    "SELECT (SELECT max(close) FROM usdt_perp_1m.candles p WHERE p.symbol = s.symbol AND p.close < 1012) AS m"
    " FROM usdt_spot_1m.candles s ORDER BY ALL",
    "SELECT close FROM usdt_spot_1m.candles WHERE open_time >= '2023-11-14 22:15:00' ORDER BY 1",
    "SELECT close FROM usdt_spot_1m.candles WHERE open_time > TIMESTAMPTZ '2023-11-14 22:14:00+00' - INTERVAL 1 MINUTE ORDER BY 1",
    "SELECT count(*) AS n FROM usdt_spot_1m.candles WHERE close BETWEEN 2001 AND 2011 AND NOT (symbol = 'ETHUSDT')",
    "SELECT close FROM usdt_spot_1m.candles WHERE symbol = 'BTCUSDT' QUALIFY row_number() OVER (ORDER BY close DESC) = 1",
    "FROM usdt_perp_1m.Change() WHERE symbol = 'BTCUSDT' ORDER BY ALL",
    "FROM usdt_perp_1m.change(n := 2) ORDER BY ALL",
    "FROM Change(1) WHERE feed = 'usdt_spot_1m' AND open_time >= '2023-11-14 22:15:00' ORDER BY ALL",
    "FROM Named('it''s ', n := 3) WHERE symbol LIKE 'it''s B%' ORDER BY ALL",
    "SELECT p.value, s.value FROM usdt_perp_1m.Change(1) p JOIN Named('') s USING (symbol, open_time) ORDER BY ALL",
    "SELECT twice(close) AS t FROM usdt_spot_1m.candles WHERE twice(close) > 4030 ORDER BY 1",
    "FROM readiness ORDER BY ALL",
    "FROM latest_candles WHERE symbol = 'BTCUSDT' ORDER BY ALL",
    "FROM usdt_perp_1m.runs WHERE missing = [] ORDER BY ALL",
    "SELECT item FROM run_status WHERE feed = 'usdt_spot_1m' AND run_time = '2023-11-14 22:15:00' ORDER BY 1",
]


async def test_the_shell_answers_as_the_recorder_does(three: Served, tmp_path: Path) -> None:
    """What is typed into the shell that `bmacdb sql` opens has the rows that the recorder gives to it."""
    init = tmp_path / "init.sql"
    with connect(three.path) as reader:
        init.write_text(await asyncio.to_thread(live_script, reader, three.server.live), encoding="utf-8")
        answers = await typed(init, *ASKED)
        for statement, (found, err) in zip(ASKED, answers, strict=True):
            assert "Error" not in err, err
            expected = await asyncio.to_thread(lambda query=statement: reader.sql(query).rows())  # type: ignore[misc]
            assert len(found) - 1 == len(expected), (statement, found)
            number = re.compile(r"-?\d+\.\d+")
            numbers = [[float(cell) for cell in row if number.fullmatch(cell)] for row in found[1:]]
            assert numbers == [[cell for cell in row if isinstance(cell, float)] for row in expected], statement
            assert expected, f"{statement} has no rows, and shows nothing"


async def test_what_the_user_makes_of_the_views_is_right_too(three: Served, tmp_path: Path) -> None:
    """Views, macros, tables, prepared statements and other time zones of the user's own change no rows."""
    init = tmp_path / "init.sql"
    with connect(three.path) as reader:
        init.write_text(await asyncio.to_thread(live_script, reader, three.server.live), encoding="utf-8")
    spot = "usdt_spot_1m.candles"
    parquet = tmp_path / "btc.parquet"
    for statement, expected in (
        (f"CREATE VIEW mine AS FROM {spot}; SELECT count(*) FROM mine, {spot} b WHERE b.symbol = 'BTCUSDT'", "27"),
        (f"CREATE SCHEMA my; CREATE VIEW my.candles AS SELECT symbol, close * 2 AS close FROM {spot}; USE my;"
         " SELECT count(*) FROM candles WHERE close > 4001", "8"),
        (f"CREATE MACRO most(s) AS (SELECT max(close) FROM {spot} WHERE symbol = s);"
         f" SELECT most('ETHUSDT') FROM {spot} WHERE symbol = 'BTCUSDT' LIMIT 1", "2012.0"),
        (f"CREATE MACRO every() AS TABLE FROM {spot}; SELECT count(*) FROM every() a, {spot} b WHERE b.symbol = 'BTCUSDT'", "27"),
        (f"CREATE TABLE kept AS SELECT * FROM {spot} WHERE symbol = 'BTCUSDT'; SELECT count(*) FROM kept", "3"),
        (f"COPY (FROM {spot} WHERE symbol = 'BTCUSDT') TO '{parquet}'; SELECT count(*) FROM '{parquet}'", "3"),
        (f"PREPARE p AS SELECT count(*) FROM {spot} WHERE symbol = $1; EXECUTE p('BTCUSDT')", "3"),
        (f"SET TimeZone = 'Asia/Shanghai'; SELECT count(*) FROM {spot} WHERE open_time >= '2023-11-15 06:15:00'", "6"),
        ("USE usdt_spot_1m; SELECT min(close) FROM candles WHERE symbol = 'ETHUSDT'", "2010.0"),
        (f"SELECT count(*) FROM {spot} TABLESAMPLE reservoir(100 ROWS) WHERE symbol = 'BTCUSDT'", "3"),
        (f"FROM (PIVOT {spot} ON symbol USING max(close) GROUP BY open_time) SELECT count(*)", "3"),
        (f"EXPLAIN FROM {spot}; SELECT count(*) FROM (DESCRIBE {spot})", "13"),
        ("SELECT count(*) FROM (SHOW ALL TABLES) WHERE schema = 'usdt_spot_1m'", str(len(FEED_TABLES))),
        ("FROM ask($$ SELECT count(*) FROM usdt_spot_1m.candles a, usdt_perp_1m.candles b $$)", "81"),
    ):  # fmt: skip
        ((found, err),) = await typed(init, statement)
        assert found[-1:] == [[expected]], (statement, found, err)
    for statement, refusal in (
        ("FROM usdt_spot_5m.candles", "does not exist"),
        ("INSERT INTO usdt_spot_1m.candles FROM usdt_perp_1m.candles", "is not an table"),
        ("FROM ask('DROP TABLE usdt_spot_1m.candles')", "Authorization failed"),
    ):
        ((_, err),) = await typed(init, statement)
        assert refusal in err


CARRIED = [
    ("FROM usdt_spot_1m.candles WHERE symbol = 'A' AND close > random()", "symbol = 'A'"),
    ("FROM usdt_spot_1m.candles c WHERE c.close > 1 AND c.open_time >= now() - INTERVAL 1 HOUR", "c.\"close\" > 1 & now()"),
    ("COPY (FROM usdt_spot_1m.candles WHERE symbol = 'A') TO 'a.csv'", "symbol = 'A'"),
    ("CREATE OR REPLACE TEMP TABLE a AS FROM usdt_spot_1m.candles WHERE symbol = 'A'", "symbol = 'A'"),
    ("EXPLAIN ANALYZE FROM usdt_spot_1m.candles WHERE symbol = 'A'", "symbol = 'A'"),
    ("WITH a AS (FROM usdt_spot_1m.candles WHERE symbol = 'A') FROM a, a AS b", "symbol = 'A'"),
    ("FROM usdt_spot_1m.candles WHERE symbol = 'A' UNION FROM usdt_perp_1m.candles WHERE symbol = 'B'", "symbol = 'A'"),
    ("FROM usdt_spot_1m.candles WHERE symbol = (SELECT 'A') AND close > 1", "\"close\" > 1"),
    ("FROM usdt_spot_1m.candles", ""),
    ("FROM usdt_spot_1m.candles a, usdt_spot_1m.candles b WHERE a.symbol = 'A'", ""),
    ("FROM usdt_spot_1m.candles, other WHERE symbol = 'A'", ""),
    ("FROM usdt_spot_1m.candles WHERE other(symbol)", ""),
    ("FROM usdt_spot_1m.candles TABLESAMPLE 10% WHERE symbol = 'A'", ""),
    ("FROM x.usdt_spot_1m.candles WHERE symbol = 'A'", ""),
    ("FROM usdt_spot_1m.candles c(close, symbol) WHERE symbol = 'A'", ""),
    ("SELECT symbol AS s FROM usdt_spot_1m.candles WHERE s = 'A'", ""),
    ("FROM usdt_spot_1m.candles; FROM usdt_spot_1m.candles WHERE symbol = 'A'", ""),
    ("no SQL", ""),
]  # fmt: skip


def test_conditions_travel_where_their_meaning_is_sure() -> None:
    """A view asks the recorder with the conditions on its own table, and without them in every case of doubt."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'; CREATE SCHEMA shell")
    for query in queries("shell").values():
        connection.execute(query.sql)
    connection.execute("SET VARIABLE shell_tables = ['usdt_spot_1m.candles', 'usdt_perp_1m.candles']")
    connection.execute("SET VARIABLE shell_functions = (SELECT list(DISTINCT function_name) FROM duckdb_functions())")
    part = "SELECT shell.part('usdt_spot_1m', 'candles', 'there', ['symbol', 'open_time', 'close'], $1)"
    for statement, expected in CARRIED:
        row = connection.execute(part, [statement]).fetchone()
        assert row is not None
        assert row[0].partition("WHERE")[0].removeprefix("SELECT * ").startswith("FROM there"), statement
        condition = row[0].partition("WHERE")[2]
        assert all(one in condition for one in expected.split(" & ")), (statement, row[0])
        assert bool(condition) == bool(expected), (statement, row[0])
    connection.close()


async def test_a_condition_is_applied_at_the_recorder(three: Served, tmp_path: Path) -> None:
    """Of a large table, one symbol's rows travel: the shell's plan shows what the recorder sent."""
    init = tmp_path / "init.sql"
    with connect(three.path) as reader:
        init.write_text(await asyncio.to_thread(live_script, reader, three.server.live), encoding="utf-8")
    analyzed = "EXPLAIN ANALYZE SELECT count(*) FROM {} WHERE symbol = 'BTCUSDT'"
    for source in ("usdt_spot_1m.candles", "usdt_perp_1m.Change(1)"):
        ((found, err),) = await typed(init, analyzed.format(source))
        assert "Error" not in err, err
        plan = "\n".join(",".join(row) for row in found)
        assert re.search(r"Server:.*?\b3 rows", plan, re.DOTALL), plan


def converse(path: Path, lines: list[tuple[str, str]]) -> str:
    """`bmacdb sql` at a pseudo-terminal: after each sign on the screen the keys are pressed; what was on the screen."""
    import fcntl
    import pty
    import struct
    import termios

    screen, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "bmacdb.cli.main", "sql", "--db", str(path)],
        stdin=side, stdout=side, stderr=side, env={**os.environ, "TERM": "xterm", "HOME": str(path.parent)},
    )  # fmt: skip
    os.close(side)
    told, heard = "", b""
    try:
        for sign, keys in lines:
            while sign not in heard.decode(errors="replace"):
                assert select.select([screen], [], [], 20)[0], (sign, heard)
                heard += os.read(screen, 65536)
                if heard.endswith(b"\x1b[6n"):  # where is the cursor?
                    os.write(screen, b"\x1b[1;1R")
            read, _, heard = heard.partition(sign.encode())  # what follows may hold the next sign already
            told += read.decode(errors="replace")
            os.write(screen, keys.encode())
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(screen)
    return told


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
async def test_a_user_at_a_terminal(three: Served) -> None:
    """`bmacdb sql` at a terminal opens the shell, which completes the names of feeds and tables."""
    shell()
    begun, ended = "SELECT max(close) + 0.5 AS m FROM usdt_spot_1m.cand\t", " WHERE symbol = 'BTCUSDT';\r"
    keys = [("D ", begun), ("candles", ended), ("2002.5", ""), ("D ", ".quit\r")]
    told = await asyncio.to_thread(converse, three.path, keys)
    assert "read-only" in told
    assert three.server.live.token not in told


async def test_at_rest_the_same_statements_work(three: Served, tmp_path: Path) -> None:
    """Without a recorder the shell has the file itself, and `ask` as well."""
    await three.server.close()
    await three.store.close()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import sys; from pathlib import Path; from bmacdb.cli.shell import *\n"
        "from bmacdb.store.reader import connect\n"
        "with connect(Path(sys.argv[1])) as reader:\n"
        "    open_shell(find_shell(), reader, None, ['-csv', '-c', sys.argv[2]])",
        str(three.path),
        "SELECT max(close) FROM usdt_spot_1m.candles; FROM ask('SELECT max(close) FROM usdt_spot_1m.candles')",
        stdout=subprocess.PIPE,
    )  # fmt: skip
    shell()
    out, _ = await process.communicate()
    assert out.decode().count("2022.0") == 2


async def test_the_guard_knows_the_macros_of_the_database(three: Served) -> None:
    """Macros of the database pass through the recorder; those of the guard do not."""
    with connect(three.path) as reader:
        changed = await asyncio.to_thread(
            lambda: reader.sql("FROM usdt_perp_1m.Change(2) WHERE value IS NOT NULL").rows()
        )
        assert {row[2] for row in changed} == {2.0}
        assert (await asyncio.to_thread(lambda: reader.sql("SELECT twice(4)").one())) == (8,)
    later = "CREATE MACRO usdt_spot_1m.later(x) AS x + 1"
    await three.store.run(lambda connection: connection.execute(later))
    await three.store.run(guard.refresh)
    with connect(three.path) as reader:
        assert (await asyncio.to_thread(lambda: reader.sql("SELECT usdt_spot_1m.later(4)").one())) == (5,)
