"""A file's text: what the archive's ages and publishers do to it, and what is refused."""

from __future__ import annotations

import gzip
import random
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from bmacdb.archive.csvfile import csv_of
from bmacdb.archive.members import delivered_ms
from bmacdb.archive.table import CANDLE_SCHEMA, Parsed, parse_funding, parse_klines
from bmacdb.errors import Malformed
from bmacdb.interval import DAY_MS, HOUR_MS, Interval
from tests.recorder.support import info

from .support import DELIVERED_MS, HEADER, JANUARY_MS, day_file, lines, month, text, zipped

HOUR = Interval.parse("1h")


def parsed(data: bytes, **options: int) -> Parsed:
    return parse_klines(data, symbol="BTCUSDT", interval=HOUR, what="the file", **options)  # type: ignore[arg-type]


def opens(table: pa.Table) -> list[int]:
    return [time // 1000 for time in table["open_time"].cast(pa.int64()).to_pylist()]


@pytest.mark.parametrize("unit", [1, 1000], ids=["ms", "us"])
@pytest.mark.parametrize(
    "header",
    [
        "",
        HEADER,
        HEADER.replace("count", "trades"),
        HEADER.replace(",ignore", ""),
        "open_time,open,high,low,close,volume,close_time,quote_asset_volume,number_of_trades,"
        "taker_buy_base_asset_volume,taker_buy_quote_asset_volume,ignore",
    ],
    ids=["none", "count", "trades", "no ignore", "long names"],
)
def test_every_form_of_the_archive_reads_alike(header: str, unit: int) -> None:
    """With a header or without, in milliseconds or microseconds, with the names of all its ages."""
    rows = lines(unit=unit)
    if header and not header.endswith("ignore"):
        rows = [row.removesuffix(",0") for row in rows]
    table = parsed(text([*([header] if header else []), *rows])).table
    assert table.schema == CANDLE_SCHEMA
    assert opens(table) == [JANUARY_MS + number * HOUR_MS for number in range(24)]
    first = table.slice(3, 1).to_pylist()[0]
    assert (first["close"], first["trade_num"], first["source"]) == (3.25, 3, "archive")
    assert (first["taker_buy_base_asset_volume"], first["taker_buy_quote_asset_volume"]) == (5.0, 6.0)


@pytest.mark.parametrize("data", [b"", b"\n", HEADER.encode(), HEADER.encode() + b"\n"])
def test_an_empty_file_has_no_rows(data: bytes) -> None:
    """And says so."""
    found = parsed(data)
    assert (found.table.num_rows, found.notes) == (0, ("it is empty",))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (text([row + ",1" for row in lines()]), "columns"),
        (text([row.rpartition(",")[0].rpartition(",")[0] for row in lines()]), "columns"),
        (text([*lines(5), "1,2,3"]), "Expected 12 columns"),
        (text(lines(step_ms=HOUR_MS // 2)), "are 1800 s long"),
        (text([row.replace(",1.5,", ",x,") for row in lines()]), "'x'"),
        (text([row.replace(",1.5,", ",nan,") for row in lines()]), "no number"),
        (text([row.replace(",1.5,", ",,") for row in lines()]), "empty"),
        (text([*lines(3), lines(1)[0].replace(",1.5,", ",1.6,")]), "differ"),
        (text(lines(start_ms=JANUARY_MS + 60_000)), "do not open where"),
        (b"\x00\xff\x00PK garbage", "columns"),
        (text(["time,price", "1,2"]), "columns"),
    ],
)
def test_what_is_no_such_file_is_refused(data: bytes, problem: str) -> None:
    """A wrong column count, another interval, no numbers, two versions of a bar: said, and nothing half believed."""
    with pytest.raises(Malformed, match=problem):
        parsed(data)


def test_rows_of_another_time_than_the_name_says_are_refused() -> None:
    """A file that was given the wrong name."""
    with pytest.raises(Malformed, match="not of the time in its name"):
        parsed(text(lines()), start_ms=JANUARY_MS + 24 * HOUR_MS, end_ms=JANUARY_MS + 48 * HOUR_MS)


def test_rows_are_put_in_order_and_doubles_left_out() -> None:
    """And bars that have not closed yet."""
    rows = lines()
    found = parsed(text([*rows[12:], *rows[:13]]), closed_by_ms=JANUARY_MS + 23 * HOUR_MS + 5)
    assert opens(found.table) == [JANUARY_MS + number * HOUR_MS for number in range(23)]
    assert len(found.notes) == 2


def test_a_few_rows_beside_the_grid_are_left_out() -> None:
    """As the exchange's first years have them; more of them are another interval."""
    rows = [*lines(199), lines(1, start_ms=JANUARY_MS + 199 * HOUR_MS + 7)[0]]
    found = parsed(text(rows))
    assert found.table.num_rows == 199
    assert "beside the grid" in found.notes[0]


def test_funding_reads() -> None:
    """Stamps as they are, each once."""
    data = b"calc_time,funding_interval_hours,last_funding_rate\n8,8,0.0001\n5,8,-0.0002\n8,8,0.0001\n"
    found = parse_funding(data, symbol="BTCUSDT", what="the file").table
    assert found["funding_rate"].to_pylist() == [-0.0002, 0.0001]
    with pytest.raises(Malformed, match="columns"):
        parse_funding(b"1,2\n", symbol="BTCUSDT", what="the file")


def test_damaged_files_are_told(tmp_path: Path) -> None:
    """A zip cut short, one with a flipped byte, one with nothing in it, a gz that is none."""
    whole = zipped(day_file(tmp_path), text(lines())).read_bytes()
    assert csv_of(day_file(tmp_path)) == text(lines())
    middle = len(whole) // 3
    for number, data in enumerate((whole[:-30], whole[:40], whole[:middle] + b"\x00" * 9 + whole[middle + 9 :])):
        path = tmp_path / f"{number}.zip"
        path.write_bytes(data)
        with pytest.raises(Malformed, match="damaged"):
            csv_of(path)
    bad = tmp_path / "x.csv.gz"
    bad.write_bytes(b"no gzip")
    with pytest.raises(Malformed, match="damaged"):
        csv_of(bad)
    bad.write_bytes(gzip.compress(b"1,2"))
    assert csv_of(bad) == b"1,2"


def test_no_byte_of_a_zip_can_change_unnoticed(tmp_path: Path) -> None:
    """Whatever is flipped: the file is refused, or its text is the same."""
    path = day_file(tmp_path)
    whole, expected, dice = zipped(path, text(lines())).read_bytes(), text(lines()), random.Random(4)
    refused = 0
    for place in [*range(70), *range(len(whole) - 150, len(whole)), *dice.sample(range(len(whole)), 80)]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << dice.randrange(8))]) + whole[place + 1 :])
        try:
            assert csv_of(path) == expected, place
        except Malformed:
            refused += 1
    assert refused > 150


@pytest.mark.parametrize(
    ("name", "symbol", "interval", "rows"),
    [
        ("LUNAUSDT-1m-2022-05.zip", "LUNAUSDT", "1m", 18_400),
        ("BTCUSDT-1m-2020-01-01.zip", "BTCUSDT", "1m", 1_440),
        ("ETHUSDT-1h-2024-12.csv", "ETHUSDT", "1h", 744),
        ("ETHUSDT-1h-2025-01.csv", "ETHUSDT", "1h", 744),
        ("ALGOUSDT-1m-2026-02.csv.gz", "ALGOUSDT", "1m", 40_320),
    ],
)
def test_real_files_read_whole(real_data: Path, name: str, symbol: str, interval: str, rows: int) -> None:
    """The archive's own files, of the years before and after each change of their form."""
    data = csv_of(real_data / "archive" / name)
    found = parse_klines(data, symbol=symbol, interval=Interval.parse(interval), what=name)
    assert (found.table.num_rows, found.notes) == (rows, ())


# --- bars that the archive prints after the end of a symbol

DAILY = Interval.parse("1d")


def daily(data: bytes, delivered_ms: int | None) -> Parsed:
    return parse_klines(data, symbol="FTMUSDT", interval=DAILY, what="the file", delivered_ms=delivered_ms)


def test_bars_after_the_delivery_are_left_out() -> None:
    """From the sixth of January at nine on: the bar of that day stays, and 25 rows go, which is told."""
    found = daily(month(*range(6)), DELIVERED_MS)
    assert opens(found.table) == [JANUARY_MS + day * DAY_MS for day in range(6)]
    assert found.notes == ("25 rows after the delivery on 2025-01-06 09:00 are left out",)


def test_bars_after_an_end_that_is_not_known_are_flagged() -> None:
    found = daily(month(*range(6)), None)
    assert found.table.num_rows == 31
    assert found.notes == (
        "its 25 rows after 2025-01-06 00:00 have no trades: was it delisted? (see flat_tails in SQL)",
    )


def test_a_name_that_is_used_again_after_its_delivery_keeps_its_bars() -> None:
    """What has trades is never left out, and what lies before them neither."""
    found = daily(month(*range(6), *range(20, 31)), DELIVERED_MS)
    assert (found.table.num_rows, found.notes) == (31, ())


def test_a_quiet_end_of_less_than_a_day_is_no_news() -> None:
    assert daily(month(*range(30)), None).notes == ()


@pytest.mark.parametrize(
    ("symbol", "told_ms", "delivered"),
    [
        ("FTMUSDT", None, None),
        ("FTMUSDT", 4_133_404_800_000, None),
        ("FTMUSDT", DELIVERED_MS, DELIVERED_MS),
        ("BTCUSDT_250328", None, 1_743_148_800_000),
        ("BTCUSD_250328", DELIVERED_MS, DELIVERED_MS),
        ("BTCUSDT_259999", None, None),
    ],
)
def test_when_a_contract_ends_is_told_by_the_exchange_or_its_name(
    symbol: str, told_ms: int | None, delivered: int | None
) -> None:
    known = {symbol: replace(info("FTMUSDT"), symbol=symbol, delivery_ms=told_ms)} if told_ms else {}
    assert delivered_ms(symbol, known) == delivered
