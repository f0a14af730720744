"""The predecessor's files to the letter, as its own readers (pandas) see them."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from bmacdb.clock import ManualClock, from_ms
from bmacdb.errors import Unwritable
from bmacdb.export.bmac import BmacExport
from bmacdb.export.names import BmacNames, names_for
from bmacdb.model import Batch, Market, SymbolInfo
from bmacdb.store.reader import connect
from bmacdb.symbols import parse_feed

from .support import FEED, RUN_MS, STEP_MS, SYMBOLS, T0, candle, candles_of, info, period, recorded

COLUMNS = [
    "candle_begin_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "trade_num",
    "taker_buy_base_asset_volume",
    "taker_buy_quote_asset_volume",
]
NOW_MS = RUN_MS + 1234


def exporting(path: Path, root: Path, *, num_candles: int = 30, save_type: str = "parquet") -> BmacExport:
    reader = connect(path)
    return BmacExport(
        lambda query, params: reader.sql(query, dict(params) or None).arrow(),
        BmacNames(root, FEED, save_type),
        num_candles=num_candles,
        clock=ManualClock(NOW_MS),
    )


def listing(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


async def test_directories_and_names_are_the_predecessors(tmp_path: Path) -> None:
    store = await recorded(tmp_path / "bmac.duckdb")
    await store.close()
    root = tmp_path / "out"
    export = exporting(tmp_path / "bmac.duckdb", root)
    assert export.newest_run_time_ms() == RUN_MS
    assert export.export(RUN_MS) == 3
    # 2024-08-03 16:05:00 in UTC+8
    assert listing(root) == sorted(
        [
            "exginfo_5m/exginfo.pqt",
            "exginfo_5m/exginfo_20240803_160500.ready",
            "exginfo_5m/funding.pqt",
            "exginfo_5m/funding_20240803_160500.ready",
            *(f"usdt_perp_5m/{symbol}.pqt" for symbol in SYMBOLS),
            *(f"usdt_perp_5m/{symbol}_20240803_160500.ready" for symbol in SYMBOLS),
        ]
    )
    ready = root / "usdt_perp_5m" / "BTCUSDT_20240803_160500.ready"
    assert float(ready.read_text()) == NOW_MS / 1000, "the unix time of writing"


async def test_candles_read_back_as_the_predecessors_frame(tmp_path: Path) -> None:
    """Columns, float64 throughout, trade_num too, times in ns UTC, the unnamed index of end times, ascending."""
    store = await recorded(tmp_path / "bmac.duckdb")
    await store.close()
    root = tmp_path / "out"
    exporting(tmp_path / "bmac.duckdb", root).export(RUN_MS)
    for symbol in SYMBOLS:
        frame = pd.read_parquet(root / "usdt_perp_5m" / f"{symbol}.pqt")
        rows = candles_of(tmp_path / "bmac.duckdb", symbol)[-30:]
        begin = pd.to_datetime([row[0] for row in rows], unit="ms", utc=True).astype("datetime64[ns, UTC]")
        expected = pd.DataFrame(
            {"candle_begin_time": begin}
            | {name: [float(row[place]) for row in rows] for place, name in enumerate(COLUMNS) if place},  # type: ignore[arg-type]
        )
        expected.index = pd.DatetimeIndex(begin + pd.Timedelta(minutes=5)).astype("datetime64[ns, UTC]")
        expected.index.name = None
        pd.testing.assert_frame_equal(frame, expected, check_exact=True, check_freq=False)
        assert list(frame.columns) == COLUMNS
        assert frame.index.name is None
        assert str(frame.index.dtype) == str(frame["candle_begin_time"].dtype) == "datetime64[ns, UTC]"
        assert {str(frame[name].dtype) for name in COLUMNS[1:]} == {"float64"}
        assert frame.index[-1] == from_ms(RUN_MS)
        # What pandas writes of it and reads again is the same frame: nothing of the file differs from pandas' own.
        frame.to_parquet(tmp_path / "again.pqt")
        again = pd.read_parquet(tmp_path / "again.pqt")
        pd.testing.assert_frame_equal(frame, again, check_exact=True, check_column_type="exact", check_freq=False)  # type: ignore[call-overload]


async def test_feather_files_have_no_index(tmp_path: Path) -> None:
    store = await recorded(tmp_path / "bmac.duckdb")
    await store.close()
    root = tmp_path / "out"
    exporting(tmp_path / "bmac.duckdb", root, save_type="feather").export(RUN_MS)
    frame = pd.read_feather(root / "usdt_perp_5m" / "ETHUSDT.fea")
    assert list(frame.columns) == COLUMNS
    assert frame.index.equals(pd.RangeIndex(30))
    assert str(frame["candle_begin_time"].dtype) == "datetime64[ns, UTC]"
    assert len(pd.read_feather(root / "exginfo_5m" / "exginfo.fea")) == 3


async def test_exchange_info_has_the_symbols_that_trade_and_exact_decimals(tmp_path: Path) -> None:
    store = await recorded(tmp_path / "bmac.duckdb")
    rules = (
        info("BTCUSDT", tick="0.1", lot="0.001"),
        info("ETHUSDT", tick="0.0000001", lot="100"),
        info("币安人生USDT", status="SETTLING"),
    )
    await store.commit(Batch(FEED.name, RUN_MS + 100, exginfo=rules))
    await store.close()
    root = tmp_path / "out"
    exporting(tmp_path / "bmac.duckdb", root).export(RUN_MS)
    frame = pd.read_parquet(root / "exginfo_5m" / "exginfo.pqt")
    assert list(frame.columns) == [
        *("symbol", "contract_type", "status", "base_asset", "quote_asset", "margin_asset"),
        *("price_tick", "lot_size", "min_notional_value"),
    ]
    assert frame.index.equals(pd.RangeIndex(2))
    assert frame.to_dict("records") == [
        {
            **dict.fromkeys(("quote_asset", "margin_asset"), "USDT"),
            "symbol": symbol,
            "contract_type": "PERPETUAL",
            "status": "TRADING",
            "base_asset": symbol.removesuffix("USDT"),
            "price_tick": Decimal(tick),
            "lot_size": Decimal(lot),
            "min_notional_value": Decimal(5),
        }
        for symbol, tick, lot in (("BTCUSDT", "0.1", "0.001"), ("ETHUSDT", "0.0000001", "100"))
    ]
    assert isinstance(frame["price_tick"].iloc[0], Decimal)


@pytest.mark.parametrize(
    ("name", "market", "lacking"),
    [
        ("usdt_spot_1h", Market.SPOT, {"contract_type", "margin_asset"}),
        ("coin_perp_1h", Market.COIN_FUTURES, {"min_notional_value"}),
    ],
)
async def test_markets_have_their_own_columns(tmp_path: Path, name: str, market: Market, lacking: set[str]) -> None:
    store = await recorded(tmp_path / "bmac.duckdb", runs=1)
    feed = parse_feed(name)
    await store.add_feed(feed, num_candles=10)
    spot = market is Market.SPOT
    rule = SymbolInfo(
        "BTCX",
        None if spot else "PERPETUAL",
        "TRADING",
        "BTC",
        "X",
        None if spot else "BTC",
        Decimal("0.01"),
        Decimal(100),
        Decimal(5) if spot else None,
    )
    await store.commit(Batch(feed.name, RUN_MS, exginfo=(rule,)))
    await store.close()
    reader = connect(tmp_path / "bmac.duckdb")
    export = BmacExport(
        lambda query, params: reader.sql(query, dict(params) or None).arrow(),
        BmacNames(tmp_path / "out", feed),
        num_candles=10,
        clock=ManualClock(NOW_MS),
    )
    export.exginfo(RUN_MS)
    columns = list(pd.read_parquet(tmp_path / "out" / "exginfo_1h" / "exginfo.pqt").columns)
    everything = (
        "symbol contract_type status base_asset quote_asset margin_asset price_tick lot_size min_notional_value"
    )
    assert columns == [column for column in everything.split() if column not in lacking]


async def test_exchange_info_at_rest_is_in_the_order_in_which_it_was_listed(tmp_path: Path) -> None:
    """The exchange's: symbols that come later stand at the end, a rule that changes moves nothing."""
    store = await recorded(tmp_path / "bmac.duckdb", runs=1)
    feed = parse_feed("usdt_spot_1h")
    await store.add_feed(feed, num_candles=10)

    def rule(symbol: str, tick: str = "0.01") -> SymbolInfo:
        return SymbolInfo(symbol, None, "TRADING", symbol, "USDT", None, Decimal(tick), Decimal("0.001"), Decimal(5))

    names = [f"{letter}USDT" for letter in "QWERTYUIOPASDFGHJKL"]
    await store.commit(Batch(feed.name, RUN_MS, exginfo=tuple(rule(name) for name in names)))
    later = (rule(names[0], "0.1"), *(rule(name) for name in (*names[1:], "ANEWUSDT")))
    await store.commit(Batch(feed.name, RUN_MS + 5, exginfo=later))
    await store.close()
    reader = connect(tmp_path / "bmac.duckdb")
    BmacExport(
        lambda query, params: reader.sql(query, dict(params) or None).arrow(),
        BmacNames(tmp_path / "out", feed),
        num_candles=10,
        clock=ManualClock(NOW_MS),
    ).exginfo(RUN_MS)
    frame = pd.read_parquet(tmp_path / "out" / "exginfo_1h" / "exginfo.pqt")
    assert frame["symbol"].to_list() == [*names, "ANEWUSDT"]
    assert [str(value) for value in frame.iloc[0][["price_tick", "lot_size", "min_notional_value"]]] == [
        "0.10000000",
        "0.00100000",
        "5.00000000",
    ], "eight digits, as spot prints them"


async def test_running_funding_rates_go_back_as_far_as_the_candles(tmp_path: Path) -> None:
    """Null where there is no number; the time is the run time in UTC+8."""
    store = await recorded(tmp_path / "bmac.duckdb")
    await store.close()
    root = tmp_path / "out"
    exporting(tmp_path / "bmac.duckdb", root).export(RUN_MS)
    frame = pd.read_parquet(root / "exginfo_5m" / "funding.pqt")
    assert list(frame.columns) == ["symbol", "fundingRate", "time"]
    assert frame["time"].dtype == pd.DatetimeTZDtype("us", ZoneInfo("Asia/Hong_Kong"))
    assert frame["fundingRate"].dtype == np.float64
    assert frame.index.equals(pd.RangeIndex(90))
    assert frame["time"].iloc[0] == from_ms(RUN_MS - 29 * STEP_MS)
    assert frame["time"].is_monotonic_increasing
    last = frame[frame["time"] == from_ms(RUN_MS)].set_index("symbol")["fundingRate"]
    assert last["BTCUSDT"] == 0.0
    assert np.isnan(last["ETHUSDT"])


async def test_the_older_ready_file_goes_also_one_of_an_earlier_program(tmp_path: Path) -> None:
    store = await recorded(tmp_path / "bmac.duckdb")
    await store.close()
    root = tmp_path / "out"
    (root / "usdt_perp_5m").mkdir(parents=True)
    (root / "usdt_perp_5m" / "BTCUSDT_20240801_000000.ready").write_text("1722441600")
    (root / "usdt_perp_5m" / "BTCUSDT_240927_20240801_000000.ready").write_text("1722441600")
    export = exporting(tmp_path / "bmac.duckdb", root)
    export.export(RUN_MS - STEP_MS)
    export.export(RUN_MS)
    ready = [name for name in listing(root) if name.endswith(".ready")]
    assert len(ready) == 3 + 2 + 1
    assert "usdt_perp_5m/BTCUSDT_20240803_160500.ready" in ready
    assert "usdt_perp_5m/BTCUSDT_240927_20240801_000000.ready" in ready, "another symbol's"


async def test_what_a_killed_export_was_writing_is_removed(tmp_path: Path) -> None:
    """But not what a program writes that is alive."""
    store = await recorded(tmp_path / "bmac.duckdb")
    await store.close()
    folder = tmp_path / "out" / "usdt_perp_5m"
    folder.mkdir(parents=True)
    killed, alive = folder / ".BTCUSDT.pqt.4194305.tmp", folder / f".BTCUSDT.pqt.{os.getppid()}.tmp"
    killed.write_text("half")  # above the greatest process id that there can be
    alive.write_text("half")
    exporting(tmp_path / "bmac.duckdb", tmp_path / "out").export(RUN_MS)
    assert not killed.exists()
    assert alive.exists()


async def test_a_symbol_with_a_hole_has_as_many_candles_and_a_late_one_is_left_out(tmp_path: Path) -> None:
    """The last num_candles rows, as the predecessor keeps them, however far they reach back."""
    store = await recorded(tmp_path / "bmac.duckdb")
    holes = [candle("HOLEUSDT", T0 + place * STEP_MS) for place in range(40) if place not in (20, 21, 30)]
    young = [candle("NEWUSDT", T0 + place * STEP_MS) for place in range(35, 40)]
    gone = [candle("GONEUSDT", T0 + place * STEP_MS) for place in range(38)]
    await store.commit(Batch(FEED.name, RUN_MS, (*holes, *young, *gone)))
    await store.close()
    root = tmp_path / "out"
    assert exporting(tmp_path / "bmac.duckdb", root).export(RUN_MS) == 5
    frame = pd.read_parquet(root / "usdt_perp_5m" / "HOLEUSDT.pqt")
    assert len(frame) == 30
    assert frame["candle_begin_time"].iloc[0] == from_ms(T0 + 7 * STEP_MS)
    assert len(pd.read_parquet(root / "usdt_perp_5m" / "NEWUSDT.pqt")) == 5
    assert not (root / "usdt_perp_5m" / "GONEUSDT.pqt").exists()


async def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    """What cannot be written leaves the file before as it was, no ready file and nothing temporary."""
    store = await recorded(tmp_path / "bmac.duckdb")
    await store.close()
    root = tmp_path / "out"
    export = exporting(tmp_path / "bmac.duckdb", root)
    export.export(RUN_MS - STEP_MS)
    before = listing(root)
    # A directory stands where the file is to go, which no rename replaces.
    taken = root / "usdt_perp_5m" / "ETHUSDT.pqt"
    taken.unlink()
    taken.mkdir()
    with pytest.raises(Unwritable, match=r"ETHUSDT\.pqt cannot be written"):
        export.export(RUN_MS)
    after = listing(root)
    assert not [name for name in after if name.endswith(".tmp")]
    assert [name for name in after if "ETHUSDT" in name] == [
        name for name in before if "ETHUSDT" in name and name.endswith(".ready")
    ]


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid"), reason="permissions of POSIX")
async def test_a_root_that_is_a_file_is_told(tmp_path: Path) -> None:
    store = await recorded(tmp_path / "bmac.duckdb", runs=1)
    await store.close()
    (tmp_path / "out").write_text("a file")
    with pytest.raises(Unwritable, match="cannot be written"):
        exporting(tmp_path / "bmac.duckdb", tmp_path / "out").export(RUN_MS)


def test_directories_are_called_as_the_feed_was_asked_for() -> None:
    """Where a configuration says usdt_swap, consumers read usdt_swap_5m. The feed is usdt_perp_5m all the same."""
    root = Path("out")
    swap = parse_feed("usdt_swap_5m")
    assert swap == parse_feed("usdt_perp_5m")
    assert names_for(root, [swap])["usdt_perp_5m"].candle_dir == root / "usdt_swap_5m"
    several = names_for(root, [swap, parse_feed("usdt_spot_5m")])
    assert several["usdt_perp_5m"].candle_dir == root / "usdt_swap" / "usdt_swap_5m"


def test_feeds_that_share_an_interval_get_a_directory_each() -> None:
    """Exchange info is named by the interval alone: two feeds would write the same file."""
    root = Path("out")
    feeds = [parse_feed(name) for name in ("usdt_perp_5m", "usdt_spot_5m", "usdt_perp_1h", "usdt_perp_1mo")]
    names = names_for(root, feeds)
    assert names["usdt_perp_5m"].candle_dir == root / "usdt_perp" / "usdt_perp_5m"
    assert names["usdt_spot_5m"].exginfo_dir == root / "usdt_spot" / "exginfo_5m"
    assert names["usdt_perp_1h"].exginfo_dir == root / "exginfo_1h"
    assert names["usdt_perp_1mo"].candle_dir == root / "usdt_perp_1mo", "1M and 1m are one name on some disks"


async def test_the_files_of_the_talk_are_read_by_the_code_of_the_talk(tmp_path: Path) -> None:
    """A strategy's loop: wait for the ready file of a run time, read, take the last row."""
    store = await recorded(tmp_path / "bmac.duckdb")
    await store.commit(period(RUN_MS + STEP_MS))
    await store.close()
    root = tmp_path / "out"
    exporting(tmp_path / "bmac.duckdb", root).export(RUN_MS + STEP_MS)
    run_time = from_ms(RUN_MS + STEP_MS).astimezone(ZoneInfo("Asia/Hong_Kong"))
    exchange_info = pd.read_parquet(root / "exginfo_5m" / "exginfo.pqt")
    for symbol in exchange_info["symbol"]:
        assert (root / "usdt_perp_5m" / f"{symbol}_{run_time:%Y%m%d_%H%M%S}.ready").exists()
        frame = pd.read_parquet(root / "usdt_perp_5m" / f"{symbol}.pqt")
        frame["PctChg_5"] = frame["close"].pct_change(5)
        assert frame.loc[run_time, "PctChg_5"] == frame["close"].iloc[-1] / frame["close"].iloc[-6] - 1
