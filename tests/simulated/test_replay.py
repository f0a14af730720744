"""Real candles, shifted to now."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bmacdb.errors import UsageError
from bmacdb.interval import DAY_MS, MINUTE_MS
from bmacdb.model import Market
from bmacdb.simulated import Universe
from tests.simulated.support import FAST, START_MS, closed, events, running

FIRST_MS = 1_770_000_000_000 // DAY_MS * DAY_MS
HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)


def line(minute: int, *, micro: bool = False) -> str:
    """The row of a minute; its prices tell which it is."""
    open_ms = FIRST_MS + minute * MINUTE_MS
    scale = 1000 if micro else 1
    times = open_ms * scale, (open_ms + MINUTE_MS) * scale - 1
    price = f"{100 + minute / 100:.2f}"
    return f"{times[0]},{price},{price}9,{price},{price}5,1.500,{times[1]},150.12345678,{minute + 1},0.500,50.1,0"


def write(path: Path, minutes: list[int], *, header: bool = True, micro: bool = False) -> Path:
    """A klines file in the form that its name asks for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join([HEADER] * header + [line(minute, micro=micro) for minute in minutes]) + "\n"
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(path.stem + ".csv", text)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif path.suffix == ".parquet":
        rows = [line(minute).split(",") for minute in minutes]
        columns = {
            name: [row[place] if place == 0 else float(row[place]) for row in rows]
            for place, name in enumerate(HEADER.split(","))
        }
        table = pa.table(columns)
        opens = table["open_time"].cast(pa.int64()).cast(pa.timestamp("ms", "UTC"))
        pq.write_table(table.set_column(0, "open_time", opens), path)
    else:
        path.write_text(text)
    return path


def replaying(*paths: Path, markets: tuple[Market, ...] = tuple(Market)) -> Universe:
    return Universe(start_ms=START_MS, symbols=2, markets=markets, replay=paths)


@pytest.mark.parametrize(
    ("name", "header", "micro"),
    [
        ("um/ALGOUSDT-1m-2026-02.csv", True, False),
        ("um/ALGOUSDT-1m-2026-02.csv.gz", True, False),
        ("um/ALGOUSDT-1m-2026-02.zip", False, False),
        ("um/ALGOUSDT-1m-2026-02-01.zip", False, True),
        ("um/ALGOUSDT-1m.parquet", True, False),
    ],
)
def test_files_of_every_form_are_read(tmp_path: Path, name: str, header: bool, micro: bool) -> None:
    """csv, gzip, zip and parquet, with a header or without, in ms or in µs: half the rows lie before the start."""
    path = write(tmp_path / name, list(range(200)), header=header, micro=micro)
    bars = replaying(path).expected(
        Market.USDT_FUTURES, "ALGOUSDT", "1m", START_MS - 100 * MINUTE_MS, START_MS + 100 * MINUTE_MS
    )
    assert [bar.open for bar in bars] == [100 + minute / 100 for minute in range(200)]
    assert [bar.trade_num for bar in bars] == list(range(1, 201))
    assert bars[0].open_time_ms == START_MS - 100 * MINUTE_MS
    assert (bars[3].high, bars[3].low, bars[3].close) == (100.039, 100.03, 100.035)
    assert (bars[3].volume, bars[3].quote_volume) == (1.5, 150.12345678)
    assert bars[3].taker_buy_base_asset_volume == 0.5
    assert bars[3].taker_buy_quote_asset_volume == 50.1


def test_what_the_file_lacks_is_lacking(tmp_path: Path) -> None:
    """A hole in the file is a hole in the market, and the file begins again when it is at its end."""
    path = write(tmp_path / "um" / "ALGOUSDT-1m-2026-02.csv", [*range(40), *range(50, 100)])
    bars = replaying(path).expected(
        Market.USDT_FUTURES, "ALGOUSDT", "1m", START_MS - 50 * MINUTE_MS, START_MS + 60 * MINUTE_MS
    )
    minutes = [(bar.open_time_ms - START_MS) // MINUTE_MS for bar in bars]
    assert minutes == [*range(-50, -10), *range(60)]
    assert bars[-1].open == bars[9].open


def test_days_stay_days(tmp_path: Path) -> None:
    """Enough rows are shifted by whole days: what happened at noon happens at noon."""
    path = write(tmp_path / "um" / "ALGOUSDT-1m-2026-02.csv", list(range(4 * 1440)))
    start_ms = START_MS - DAY_MS
    bars = replaying(path).expected(Market.USDT_FUTURES, "ALGOUSDT", "1m", start_ms, START_MS)
    assert len(bars) == 1440
    assert {bar.open_time_ms % DAY_MS - (bar.trade_num - 1) % 1440 * MINUTE_MS for bar in bars} == {0}


def test_the_path_or_the_symbol_tells_the_market(tmp_path: Path) -> None:
    """spot, um, cm; `USD_PERP`; or the one market that is asked for."""
    for name, market in (
        ("spot/daily/AUSDT-1m-2026-02.csv", Market.SPOT),
        ("futures/um/BUSDT-1m-2026-02.csv", Market.USDT_FUTURES),
        ("anywhere/CUSD_PERP-1m-2026-02.csv", Market.COIN_FUTURES),
    ):
        world = replaying(write(tmp_path / name, list(range(10))))
        assert world.get(market, Path(name).name.split("-")[0]).lives
    path = write(tmp_path / "DUSDT-1m-2026-02.csv", list(range(10)))
    assert replaying(path, markets=(Market.SPOT,)).get(Market.SPOT, "DUSDT").lives
    everything = replaying(tmp_path)
    assert everything.get(Market.SPOT, "AUSDT").lives
    assert everything.expected(Market.USDT_FUTURES, "BUSDT", "5m", START_MS - DAY_MS, START_MS) == []


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("notes.csv", "", "not named like"),
        ("BTCUSDT-7m-2026.csv", "", "not named like"),
        ("BTCUSDT-1mo-2026.csv", "", "months"),
        ("BTCUSDT-1m-2026.zip", "x", "no klines file"),
        ("BTCUSDT-1m-2026.csv", "1,2\n", "no klines file"),
        ("BTCUSDT-1m-2026.csv", "1,a,b,c,d,e,f,g,h,i,j,k\n", "no number"),
        ("BTCUSDT-1m-2026.csv", "", "no klines file in"),
    ],
)
def test_what_cannot_be_replayed_is_refused(tmp_path: Path, name: str, text: str, complaint: str) -> None:
    """By its name, with the reason."""
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=complaint):
        replaying(tmp_path / name)


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """With what a path should be; so is a parquet file of other columns."""
    with pytest.raises(UsageError, match="does not exist"):
        replaying(tmp_path / "nothing")
    pq.write_table(pa.table({"open_time": [1]}), tmp_path / "BTCUSDT-1m.parquet")
    with pytest.raises(UsageError, match="lacks the columns open"):
        replaying(tmp_path / "BTCUSDT-1m.parquet")


async def test_replayed_bars_come_over_rest_and_websocket(tmp_path: Path) -> None:
    """A replayed symbol trades among the generated ones; both ways give the file's own numbers."""
    path = write(tmp_path / "um" / "ALGOUSDT-1m-2026-02.csv", list(range(200)))
    async with running(speed=FAST, replay=[path]) as client:
        _, info = await client.get("/fapi/v1/exchangeInfo")
        assert "ALGOUSDT" in {entry["symbol"] for entry in info["symbols"]}
        _, rows = await client.get("/fapi/v1/klines", symbol="ALGOUSDT", interval="1m", endTime=START_MS - 1, limit=2)
        assert [row[1] for row in rows] == ["100.980", "100.990"]
        assert rows[1][7] == "150.12345678"
        socket = await client.listen("/market/stream", "algousdt@kline_1m", "btcusdt@kline_1m")
        seen = await events(socket, until=lambda seen: {event["s"] for event in seen} == {"ALGOUSDT", "BTCUSDT"})
        assert closed(seen)
        event = next(event for event in seen if event["s"] == "ALGOUSDT")
        minute = ((event["k"]["t"] - START_MS) // MINUTE_MS + 100) % 200
        assert event["k"]["n"] == minute + 1
        assert float(event["k"]["o"]) == 100 + minute / 100
