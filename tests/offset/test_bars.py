"""The bars themselves: what SQL makes equals what is made by hand, whole bars alone, in every order of events."""

from __future__ import annotations

import random
from pathlib import Path

import duckdb
import pytest

from bmacdb.interval import HOUR_MS, MINUTE_MS
from bmacdb.model import Batch, FundingRate, Source
from bmacdb.offset import Resampling
from bmacdb.store import resample
from bmacdb.symbols import parse_feed

from .support import FEED, HOURS, SELECTED, STEP_MS, T0, by_hand, candle, kept, open_store, same

SYMBOLS = ("BTCUSDT", "ETHUSDT", "币安人生USDT")


def some_candles(bars: int = 60, *, holes: int = 12, seed: int = 1) -> list[object]:
    digits = random.Random(seed)
    everything = [(symbol, T0 + place * STEP_MS) for symbol in SYMBOLS for place in range(bars)]
    missing = set(digits.sample(everything, holes))
    return [candle(*key) for key in everything if key not in missing]


async def put(store, candles, **more) -> None:  # type: ignore[no-untyped-def]
    digits = random.Random(2)
    shuffled = list(candles)
    digits.shuffle(shuffled)
    await store.commit(Batch(FEED.name, T0, tuple(shuffled), **more))


def made(connection: duckdb.DuckDBPyConnection, resampling: Resampling, start: int, end: int, **more):  # type: ignore[no-untyped-def]
    query, params = resample.bars_query(resampling, start, end, **more)
    return {
        (row[0], row[1]): row[2:] for row in connection.execute(f"SELECT {SELECTED} FROM ({query})", params).fetchall()
    }


@pytest.mark.parametrize(
    ("to", "offsets"),
    [("1h", None), ("15m", None), ("30m", (5, 20)), ("2h", None), ("4h", (0, 235)), ("8h", None), ("1d", None)],
)
async def test_bars_at_every_offset_equal_those_made_by_hand(
    tmp_path: Path, to: str, offsets: tuple[int, ...] | None
) -> None:
    """Holes, symbols in Chinese, bars without trades; candles committed in any order."""
    store = await open_store(tmp_path / "bmac.duckdb")
    resampling = Resampling.of(FEED, to, offsets)
    candles = some_candles(330, holes=1) if resampling.parts > 24 else some_candles(60)
    await put(store, candles)
    mine = await store.run(lambda con: made(con, resampling, T0, T0 + 400 * STEP_MS))
    theirs = by_hand(candles, resampling)  # type: ignore[arg-type]
    assert theirs
    same(mine, theirs)
    # Over half a century keys take 64 bits; and from a moment that is on no grid.
    same(await store.run(lambda con: made(con, resampling, T0 // 2 + 1, 2 * T0)), theirs)
    # A range of them is what of them opens in it.
    start, end = T0 + 7 * STEP_MS, T0 + 29 * STEP_MS
    part = await store.run(lambda con: made(con, resampling, start, end, symbols=["ETHUSDT"]))
    same(part, {key: row for key, row in theirs.items() if key[0] == "ETHUSDT" and start <= key[1] < end})
    await store.close()


async def test_a_bar_carries_the_first_funding_within_it_that_is_not_nothing(tmp_path: Path) -> None:
    """Late stamps belong to the part that they lie in; rates of nearly 0 and parts that are not there do not count."""
    store = await open_store(tmp_path / "bmac.duckdb")
    candles = [candle(symbol, T0 + place * STEP_MS) for symbol in SYMBOLS[:2] for place in range(40)]
    rates = {
        ("BTCUSDT", T0 + 5): 0.0001,
        ("BTCUSDT", T0 + HOUR_MS + 12): 1e-6,  # nothing
        ("BTCUSDT", T0 + 2 * HOUR_MS): -0.0003,
        ("ETHUSDT", T0 + HOUR_MS - 1): 0.0002,
        ("ETHUSDT", T0 + 90 * MINUTE_MS): 0.0,
    }
    rows = tuple(FundingRate(symbol, time, "Regular", rate, 1.0) for (symbol, time), rate in rates.items())
    special = FundingRate("BTCUSDT", T0 + 5, "Special", 0.5, 1.0)
    await put(store, candles, funding_rates=(*rows, special))
    for to in ("1h", "2h"):
        resampling = Resampling.of(FEED, to)
        theirs = by_hand(candles, resampling, rates)
        assert len({row[-3] for row in theirs.values()}) == 4
        same(await store.run(lambda con, one=resampling: made(con, one, T0, T0 + 40 * STEP_MS)), theirs)
    await store.close()


async def test_bars_of_minutes_carry_the_mean_price_of_their_first_minute(tmp_path: Path) -> None:
    """quote_volume / volume within low and high; the open where nothing was traded; also from a feed of 1m beside."""
    store = await open_store(tmp_path / "bmac.duckdb")
    minutes = parse_feed("usdt_perp_1m")
    await store.add_feed(minutes, num_candles=100)
    small = [candle("BTCUSDT", T0 + place * MINUTE_MS) for place in range(90)]
    await store.commit(Batch(minutes.name, T0, tuple(small)))
    expected = {
        one.open_time_ms: min(max(one.quote_volume / one.volume, one.low), one.high) if one.volume else one.open
        for one in small
    }
    assert any(one.volume == 0 for one in small)
    own = Resampling.of(minutes, "15m")
    query, params = resample.bars_query(own, T0, T0 + HOUR_MS)
    found = await store.run(
        lambda con: con.execute(f"SELECT epoch_ms(open_time), vwap_1m FROM ({query})", params).fetchall()
    )
    assert len(found) == 60
    assert all(value == pytest.approx(expected[at], rel=1e-15) for at, value in found)

    await put(store, [candle("BTCUSDT", T0 + place * STEP_MS) for place in range(30)])
    beside, params = resample.bars_query(HOURS, T0, T0 + 2 * HOUR_MS, minutes=minutes.name)
    found = await store.run(
        lambda con: con.execute(f"SELECT epoch_ms(open_time), vwap_1m FROM ({beside})", params).fetchall()
    )
    assert len(found) == 19
    assert [value for _, value in sorted(found)] == [expected.get(T0 + place * STEP_MS) for place in range(19)], (
        "null where there is no 1m bar"
    )
    await store.close()


async def test_no_mean_price_is_made_of_contracts(tmp_path: Path) -> None:
    """On COIN-M volume counts contracts: the column is null rather than wrong."""
    store = await open_store(tmp_path / "bmac.duckdb")
    feed = parse_feed("coin_perp_1m")
    await store.add_feed(feed, num_candles=100)
    await store.commit(
        Batch(feed.name, T0, tuple(candle("BTCUSD_PERP", T0 + place * MINUTE_MS) for place in range(20)))
    )
    query, params = resample.bars_query(Resampling.of(feed, "5m"), T0, T0 + HOUR_MS)
    found = await store.run(
        lambda con: con.execute(f"SELECT count(*), count(vwap_1m) FROM ({query})", params).fetchone()
    )
    assert found == (16, 0)
    await store.close()


async def test_bars_of_seconds_begin_with_a_minute(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "bmac.duckdb")
    feed = parse_feed("usdt_spot_1s")
    await store.add_feed(feed, num_candles=100)
    seconds = [candle("BTCUSDT", T0 + place * 1000) for place in range(200)]
    await store.commit(Batch(feed.name, T0, tuple(seconds)))
    resampling = Resampling.of(feed, "1m")
    mine = await store.run(lambda con: made(con, resampling, T0 - 5_000, T0 + HOUR_MS))
    assert [key[1] for key in sorted(mine)] == [T0, T0 + MINUTE_MS, T0 + 2 * MINUTE_MS]
    same(mine, by_hand(seconds, resampling))
    await store.close()


async def test_the_bars_of_one_run_time_equal_those_of_the_batch(tmp_path: Path) -> None:
    """Made one run time after another they are what they are all at once; mending them finds nothing to do."""
    store = await open_store(tmp_path / "bmac.duckdb")
    candles = some_candles(50, holes=9)
    rates = (FundingRate("ETHUSDT", T0 + HOUR_MS + 3, "Regular", 0.0001, None),)
    await put(store, candles, funding_rates=rates)

    def work(connection: duckdb.DuckDBPyConnection) -> int:
        resample.create(connection, HOURS, T0)
        for place in range(12, 51):
            open_ms = HOURS.ending_at(T0 + place * STEP_MS)
            assert open_ms is not None
            resample.make(connection, HOURS, open_ms, complete=True, traded=3, now_ms=T0)
        recorded = connection.execute(f"SELECT DISTINCT recorded_at FROM {HOURS.name}.candles").fetchall()
        query, params = resample.bars_query(HOURS, T0, T0 + 50 * STEP_MS)
        bars = connection.execute(query, params).to_arrow_table()
        assert resample.mend(connection, HOURS, bars, now_ms=T0 + 1) == ([], None)
        assert connection.execute(f"SELECT DISTINCT recorded_at FROM {HOURS.name}.candles").fetchall() == recorded
        return bars.num_rows

    assert await store.beside(work) > 20
    theirs = by_hand(candles, HOURS, {("ETHUSDT", T0 + HOUR_MS + 3): 0.0001})  # type: ignore[arg-type]
    same(await store.run(lambda con: kept(con, f"{HOURS.name}.candles")), theirs)
    await store.close()


async def test_a_run_time_names_who_has_a_hole_and_not_who_is_new(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "bmac.duckdb")
    old = [candle("BTCUSDT", T0 + place * STEP_MS) for place in range(24)]
    holey = [candle("ETHUSDT", T0 + place * STEP_MS) for place in range(24) if place != 20]
    new = [candle("NEWUSDT", T0 + place * STEP_MS) for place in range(18, 24)]
    await put(store, [*old, *holey, *new])

    def work(connection: duckdb.DuckDBPyConnection) -> resample.Made:
        resample.create(connection, HOURS, T0)
        made, bars = resample.make(connection, HOURS, T0 + HOUR_MS, complete=True, traded=3, now_ms=T0 + 7)
        assert bars.equals(connection.execute(f"FROM {HOURS.name}.candles").to_arrow_table())
        return made

    done = await store.beside(work)
    assert (done.expected, done.ready, done.missing, done.new) == (2, 1, ("ETHUSDT",), ("BTCUSDT",))
    rows = await store.run(
        lambda con: con.execute(
            f"SELECT expected, ready, epoch_ms(complete_at), missing FROM {HOURS.name}.runs"
        ).fetchall()
    )
    assert rows == [(2, 1, T0 + 7, ["ETHUSDT"])]

    # The part comes after all: its bar is made, and what was noted is renewed; when it was complete stays.
    await store.commit(Batch(FEED.name, T0, (candle("ETHUSDT", T0 + 20 * STEP_MS, source=Source.REST),)))

    def repair(connection: duckdb.DuckDBPyConnection) -> list[resample.Made]:
        query, params = resample.bars_query(HOURS, *HOURS.touched(T0 + 20 * STEP_MS, T0 + 21 * STEP_MS))
        bars = connection.execute(query, params).to_arrow_table()
        made, changed = resample.mend(connection, HOURS, bars, now_ms=T0 + 9)
        assert changed is not None
        stored = connection.execute(f"FROM {HOURS.name}.candles WHERE epoch_ms(recorded_at) = {T0 + 9}")
        assert changed.equals(stored.to_arrow_table())
        return made

    (noted,) = await store.beside(repair)
    assert (noted.expected, noted.ready, noted.missing, noted.complete_at_ms, noted.repaired) == (2, 2, (), T0 + 7, 1)
    items = await store.run(lambda con: con.execute(f"SELECT item FROM {HOURS.name}.run_status ORDER BY 1").fetchall())
    assert items == [("BTCUSDT",), ("ETHUSDT",)]
    await store.close()


async def test_a_corrected_part_corrects_its_bars(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "bmac.duckdb")
    bars = [candle("BTCUSDT", T0 + place * STEP_MS) for place in range(30)]
    await put(store, bars)
    await store.beside(lambda con: resample.keep_all(con, HOURS, T0, T0 + 30 * STEP_MS, now_ms=T0, piece=10))
    bars[15] = candle("BTCUSDT", T0 + 15 * STEP_MS, version=1, source=Source.REST)
    await store.commit(Batch(FEED.name, T0, (bars[15],)))
    count = await store.beside(
        lambda con: resample.keep_all(con, HOURS, T0, T0 + 30 * STEP_MS, now_ms=T0 + 1, piece=1_000_000)
    )
    assert count == 19
    same(await store.run(lambda con: kept(con, f"{HOURS.name}.candles")), by_hand(bars, HOURS))
    changed = await store.run(
        lambda con: con.execute(
            f"SELECT count(*) FROM {HOURS.name}.candles WHERE epoch_ms(recorded_at) = ?", [T0 + 1]
        ).fetchone()
    )
    assert changed == (12,), "the twelve bars that have this part, and no other"
    await store.close()


async def test_views_of_main_know_the_bars_also_after_another_feed_has_come(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "bmac.duckdb")
    await put(store, [candle("BTCUSDT", T0 + place * STEP_MS) for place in range(15)])
    await store.beside(lambda con: resample.keep_all(con, HOURS, T0, T0 + HOUR_MS, now_ms=T0, piece=1000))
    await store.add_feed(parse_feed("usdt_spot_5m"), num_candles=100)
    await store.close()
    store = await open_store(tmp_path / "bmac.duckdb")
    rows = await store.run(
        lambda con: con.execute("SELECT feed, count(*) FROM main.resampled_candles GROUP BY 1").fetchall()
    )
    assert rows == [(HOURS.name, 4)]
    feeds = await store.run(lambda con: con.execute("SELECT DISTINCT feed FROM main.candles").fetchall())
    assert feeds == [(FEED.name,)], "views of candles hold what was recorded"
    await store.close()
