"""Keys of the archive, trade types by name, and listings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmacdb.archive.layout import ArchiveFile, Cadence, Kind, covering, month_of, next_month, parse_key, parse_name
from bmacdb.archive.listing import parse_listing
from bmacdb.archive.members import members
from bmacdb.errors import Malformed
from bmacdb.interval import DAY_MS, INTERVALS
from bmacdb.model import Market

from .support import FEBRUARY_MS, JANUARY_MS


@given(
    st.sampled_from(list(Market)),
    st.sampled_from(list(Cadence)),
    st.sampled_from(["BTCUSDT", "币安人生USDT", "BTCUSD_PERP", "BTCUSDT_250328", "LUNAUSDT_SETTLED"]),
    st.sampled_from([*INTERVALS, ""]),
    st.integers(18_262, 25_000),
)
def test_a_key_tells_all_of_its_file(market: Market, cadence: Cadence, symbol: str, interval: str, day: int) -> None:
    """What a file is can be written as a key and read back."""
    kind = Kind.KLINES if interval else Kind.FUNDING
    start_ms = day * DAY_MS if cadence is Cadence.DAILY else month_of(day * DAY_MS)
    file = ArchiveFile(market, kind, cadence, symbol, interval, start_ms)
    assert parse_key(file.key) == file
    assert parse_name(file.name, market) == file


@pytest.mark.parametrize(
    "key",
    [
        "data/spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2025-01.zip.CHECKSUM",
        "data/spot/monthly/trades/BTCUSDT/BTCUSDT-trades-2025-01.zip",
        "data/spot/monthly/klines/BTCUSDT/1m/ETHUSDT-1m-2025-01.zip",
        "data/spot/monthly/klines/BTCUSDT/5m/BTCUSDT-1m-2025-01.zip",
        "data/spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2025-02-30.zip",
        "data/spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2025-02.zip",
        "data/spot/monthly/klines/../1m/..-1m-2025-01.zip",
        "data/spot/monthly/klines/a/b/1m/a/b-1m-2025-01.zip",
        "data/spot/monthly/klines/BTCUSDT/7m/BTCUSDT-7m-2025-01.zip",
    ],
)
def test_other_keys_are_nothing_to_fetch(key: str) -> None:
    """Checksums, other kinds, names that do not fit their place, and what could lead out of the mirror."""
    assert parse_key(key) is None


def test_a_month_takes_the_place_of_its_days() -> None:
    """Days of a month that is there as a whole are not fetched; others are, in order of time."""
    month = ArchiveFile(Market.SPOT, Kind.KLINES, Cadence.MONTHLY, "BTCUSDT", "1h", JANUARY_MS)
    days = [
        ArchiveFile(Market.SPOT, Kind.KLINES, Cadence.DAILY, "BTCUSDT", "1h", JANUARY_MS + number * DAY_MS)
        for number in range(33)
    ]
    assert covering([*days, month]) == [month, *days[31:]]
    assert covering(days, start_ms=FEBRUARY_MS) == days[31:]
    assert covering([*days, month], end_ms=FEBRUARY_MS) == [month]
    assert next_month(JANUARY_MS) == FEBRUARY_MS
    assert month.covers(days[30])
    assert not month.covers(days[31])


def test_names_tell_trade_types() -> None:
    """Delisted symbols, settled ghosts and Chinese names included; pegs, leverage and deliveries told apart."""
    spot = ["BTCUSDT", "USDCUSDT", "BTCUPUSDT", "JUPUSDT", "ETHBTC", "BTCUSDC", "USDT"]
    assert members("usdt_spot", spot) == ("BTCUSDT", "JUPUSDT")
    assert members("btc_spot", spot) == ("ETHBTC",)
    perp = ["BTCUSDT", "币安人生USDT", "BTCUSDC", "BTCUSDT_250328", "ICPUSDTSETTLED", "LUNAUSDT_SETTLED", "ETHBTC"]
    assert members("usdt_perp", perp) == ("BTCUSDT", "ICPUSDTSETTLED", "LUNAUSDT_SETTLED", "币安人生USDT")
    assert members("usdt_deli", perp) == ("BTCUSDT_250328",)
    assert members("coin_perp", ["BTCUSD_PERP", "BTCUSD_250328"]) == ("BTCUSD_PERP",)
    assert members("coin_deli", ["BTCUSD_PERP", "BTCUSD_250328"]) == ("BTCUSD_250328",)
    assert members("usdt_tradfi_perp", ["TSLAUSDT"]) == ()


LISTING = (
    '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>{more}'
    "</IsTruncated><Contents><Key>a/b.zip</Key><LastModified>2025-01-02T03:04:05.000Z</LastModified>"
    "<ETag>&quot;abc&quot;</ETag><Size>7</Size></Contents></ListBucketResult>"
)


def test_a_truncated_listing_goes_on_from_its_last_key() -> None:
    """S3 leaves the marker out where no delimiter was given."""
    assert parse_listing(LISTING.format(more="false").encode()).marker is None
    page = parse_listing(LISTING.format(more="true").encode())
    assert page.marker == "a/b.zip"
    assert (page.entries[0].size, page.entries[0].etag) == (7, "abc")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html></html>",
        b"<Error><Code>AccessDenied</Code></Error>",
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]><ListBucketResult/>',
        LISTING.format(more="false").replace("<Size>7", "<Size>x").encode(),
    ],
)
def test_what_is_no_listing_is_refused(body: bytes) -> None:
    """An error page, a body cut short, entities that would grow without end."""
    with pytest.raises(Malformed, match="archive"):
        parse_listing(body)
