"""REST bodies of all three markets, whole, odd and broken."""

from __future__ import annotations

import contextlib
import gzip
import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmacdb.errors import Malformed
from bmacdb.exchange.wire import (
    parse_error,
    parse_exchange_info,
    parse_funding_rates,
    parse_klines,
    parse_premium_index,
    parse_server_time,
)
from bmacdb.model import Candle, FundingRate, FundingSnapshot, Market, Source

ROW = [60_000, "1.5", "2.5", "1.0", "2.0", "10", 119_999, "20", 7, "4", "8", "0"]


def body(*rows: list[object]) -> bytes:
    return json.dumps(rows).encode()


def recorded(path: Path) -> bytes:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if not data.startswith((b"{", b"[")):  # URL and time stand in front, another answer follows
        data = data[data.index(b"{") :].splitlines()[0]
    return data


def test_a_row_becomes_a_candle() -> None:
    """Every column goes where the exchange's documentation says."""
    (bar,) = parse_klines(body(ROW), "AAAUSDT")
    assert bar.candle == Candle("AAAUSDT", 60_000, 1.5, 2.5, 1.0, 2.0, 10.0, 20.0, 7, 4.0, 8.0, Source.REST)
    assert bar.close_time_ms == 119_999


def test_an_empty_page_is_no_error() -> None:
    """A symbol that did not trade then."""
    assert parse_klines(b"[]", "AAAUSDT") == []


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (0, 60_001),
        (0, 60_000_000_000_000_000),
        (1, "NaN"),
        (2, "1.9"),
        (3, "-1"),
        (5, "inf"),
        (6, 60_000),
        (8, -1),
        (8, 2**64),
        (4, None),
    ],
)
def test_one_wrong_row_makes_a_page_malformed(column: int, value: object) -> None:
    """A page is asked for again rather than half believed."""
    wrong = [*ROW]
    wrong[column] = value
    with pytest.raises(Malformed):
        parse_klines(body(ROW, wrong), "AAAUSDT")


@pytest.mark.parametrize(
    "data", [b"", b"[[", b"<html></html>", b'{"code":-1121,"msg":"Invalid symbol."}', b"[[1,2]]", b"\xff"]
)
def test_bodies_that_are_no_page_are_malformed(data: bytes) -> None:
    """Torn, of another kind, or no JSON at all."""
    with pytest.raises(Malformed):
        parse_klines(data, "AAAUSDT")


def test_usd_m_rules_and_what_does_not_parse_among_them(data: Path) -> None:
    """A broken entry costs itself and is named; unknown statuses and Chinese names are kept as they are."""
    info = parse_exchange_info(Market.USDT_FUTURES, (data / "exchange-info-usdt-futures.json").read_bytes())
    assert info.weight_limit == 2400
    assert info.skipped == ("BROKENUSDT", "NANUSDT", "#4", "AAAUSDT")
    first, second = info.symbols
    assert (first.price_tick, first.lot_size, first.min_notional_value) == (Decimal("0.10"), Decimal("0.001"), 50)
    assert (first.contract_type, first.margin_asset) == ("PERPETUAL", "USDT")
    assert (first.onboard_ms, first.delivery_ms) == (1_600_000_000_000, 4_133_404_800_000)
    assert (second.symbol, second.status) == ("币币USDT", "A_STATUS_OF_TOMORROW")
    assert (second.price_tick, second.lot_size, second.min_notional_value) == (0, 0, None)


def test_coin_m_rules(data: Path) -> None:
    """The status has another name there, the lot is the contract, and there is no least notional."""
    info = parse_exchange_info(Market.COIN_FUTURES, (data / "exchange-info-coin-futures.json").read_bytes())
    (symbol,) = info.symbols
    assert (symbol.status, symbol.contract_type) == ("DELIVERING", "CURRENT_QUARTER DELIVERING")
    assert (symbol.lot_size, symbol.min_notional_value) == (100, None)


def test_spot_rules(data: Path) -> None:
    """Both names of the least notional; no contract type, margin asset or dates."""
    info = parse_exchange_info(Market.SPOT, (data / "exchange-info-spot.json").read_bytes())
    assert info.weight_limit == 6000
    assert [symbol.min_notional_value for symbol in info.symbols] == [Decimal(5), Decimal("0.0001")]
    assert [symbol.status for symbol in info.symbols] == ["TRADING", "BREAK"]
    first = info.symbols[0]
    assert (first.contract_type, first.margin_asset, first.onboard_ms, first.delivery_ms) == (None,) * 4


def test_spot_symbols_that_are_no_coins_are_told() -> None:
    """Where exchange info says so, in the words that futures have for it; COIN is as good as nothing."""
    entry = {"symbol": "AUSDT", "status": "TRADING", "baseAsset": "A", "quoteAsset": "USDT"}
    for underlying, told in (("EQUITY", "EQUITY"), ("COIN", None), ("", None)):
        body = json.dumps({"symbols": [entry | {"underlyingType": underlying}]}).encode()
        assert parse_exchange_info(Market.SPOT, body).symbols[0].contract_type == told


def test_exchange_info_without_any_good_symbol_is_malformed() -> None:
    """It would look as if the whole market had been delisted."""
    with pytest.raises(Malformed):
        parse_exchange_info(Market.SPOT, b'{"symbols":[{"symbol":"AAAUSDT"}]}')


def test_running_funding_rates_may_be_missing() -> None:
    """Delivery contracts print '' or '0.00000000', and 0 where there is no next funding. A rate of zero is one."""
    rows = [
        {
            "symbol": "AAAUSDT",
            "markPrice": "2.5",
            "indexPrice": "2.4",
            "lastFundingRate": "-0.0001",
            "nextFundingTime": 9_000,
            "time": 1,
        },
        {"symbol": "AAAUSDT_261225", "markPrice": "2.5", "indexPrice": "", "lastFundingRate": "", "nextFundingTime": 0},
        {"symbol": "AAAUSD_261225", "markPrice": "2.5", "lastFundingRate": "0.00000000", "nextFundingTime": 0},
        {"symbol": "BBBUSDT", "markPrice": "2.5", "lastFundingRate": "0.00000000", "nextFundingTime": 9_000},
    ]
    assert parse_premium_index(json.dumps(rows).encode(), 60_000) == (
        FundingSnapshot(60_000, "AAAUSDT", -0.0001, 9_000, 2.5, 2.4),
        FundingSnapshot(60_000, "AAAUSDT_261225", None, None, 2.5, None),
        FundingSnapshot(60_000, "AAAUSD_261225", None, None, 2.5, None),
        FundingSnapshot(60_000, "BBBUSDT", 0.0, 9_000, 2.5, None),
    )


def test_settled_funding_rates_keep_their_raw_stamp() -> None:
    """Milliseconds late, special ones named so, old ones without a mark price."""
    rows = [
        {"symbol": "AAAUSDT", "fundingTime": 28_800_007, "fundingRate": "0.0001", "markPrice": ""},
        {"symbol": "AAAUSDT", "fundingTime": 28_800_007, "fundingRate": "0.2", "markPrice": "5", "rateType": "Special"},
    ]
    assert parse_funding_rates(json.dumps(rows).encode()) == (
        FundingRate("AAAUSDT", 28_800_007, "Regular", 0.0001, None),
        FundingRate("AAAUSDT", 28_800_007, "Special", 0.2, 5.0),
    )


@pytest.mark.parametrize("rate", ["", "NaN", "inf", "much", None])
def test_a_settled_funding_without_its_rate_is_malformed(rate: object) -> None:
    """It cannot be stored, and it must not get lost in silence."""
    rows = [{"symbol": "AAAUSDT", "fundingTime": 28_800_007, "fundingRate": rate, "markPrice": ""}]
    with pytest.raises(Malformed):
        parse_funding_rates(json.dumps(rows).encode())


def test_server_time_and_errors() -> None:
    """The two smallest bodies there are."""
    assert parse_server_time(b'{"serverTime":1790000000000}') == 1_790_000_000_000
    assert parse_error(b'{"code":-1121,"msg":"Invalid symbol."}') == (-1121, "Invalid symbol.")
    assert parse_error(b"<html>") is None
    with pytest.raises(Malformed):
        parse_server_time(b'{"serverTime":1790000000000000}')


bodies = st.binary(max_size=200) | st.sampled_from(
    [
        body(ROW, ROW),
        b'{"symbols":[{"symbol":"A","status":"B","baseAsset":"C","quoteAsset":"D"}]}',
        b'{"serverTime":1}',
        b"[{}]",
    ]
)


@given(data=bodies, place=st.integers(0, 200), new=st.binary(max_size=3))
def test_any_bytes_are_malformed_or_make_sense(data: bytes, place: int, new: bytes) -> None:
    """No body at all raises anything but Malformed."""
    data = data[:place] + new + data[place + len(new) :]
    parse_error(data)
    for parse in (
        lambda: parse_klines(data, "AAAUSDT"),
        lambda: parse_exchange_info(Market.USDT_FUTURES, data),
        lambda: parse_premium_index(data, 0),
        lambda: parse_funding_rates(data),
        lambda: parse_server_time(data),
    ):
        with contextlib.suppress(Malformed):
            parse()


@pytest.mark.parametrize(
    ("name", "market", "symbols"),
    [
        ("um-exchangeInfo-2026-07-08.json.gz", Market.USDT_FUTURES, 820),
        ("spot-exchangeInfo-2021-04.gz", Market.SPOT, 1405),
        ("spot-exchangeInfo-3-symbols-2026-07.json", Market.SPOT, 3),
        ("cm-exchangeInfo-2021-04.gz", Market.COIN_FUTURES, 36),
    ],
)
def test_recorded_exchange_info_parses_whole(real_data: Path, name: str, market: Market, symbols: int) -> None:
    """Of 2021 and of 2026: no symbol is left out, and every one has its price tick and lot."""
    info = parse_exchange_info(market, recorded(real_data / "rest" / name))
    assert (len(info.symbols), info.skipped) == (symbols, ())
    assert info.weight_limit in (1200, 2400, 6000)
    assert all(symbol.price_tick > 0 and symbol.lot_size > 0 for symbol in info.symbols)
    if market is not Market.COIN_FUTURES:
        assert all(symbol.min_notional_value is not None for symbol in info.symbols)


def test_recorded_funding_parses_whole(real_data: Path) -> None:
    """The running rates of a whole market, and a month of settled ones."""
    (path,) = (real_data / "rest").glob("um-premiumIndex-*")
    snapshots = parse_premium_index(recorded(path), 0)
    assert len(snapshots) > 800
    assert sum(snapshot.funding_rate is not None for snapshot in snapshots) > 700
    (path,) = (real_data / "rest").glob("um-fundingRate-*")
    rates = parse_funding_rates(recorded(path))
    assert len(rates) > 80
    assert all(rate.rate_type == "Regular" and rate.mark_price for rate in rates)
