"""One batch is one transaction, and no duplicate can enter."""

from __future__ import annotations

import asyncio
import math
import tempfile
from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from bmacdb.clock import ManualClock
from bmacdb.errors import StoreError
from bmacdb.model import Batch, Candle, FundingRate, FundingSnapshot, Gap, GapState, Ready, Run, Source, SymbolInfo
from bmacdb.store.precedence import judge
from bmacdb.store.rows import SCHEMAS
from bmacdb.store.writer import Store
from tests.store.support import FEED, MINUTE, START, candle, opened, period, select, stored_candles

INFO = SymbolInfo(
    "BTCUSDT", "PERPETUAL", "TRADING", "BTC", "USDT", "USDT", Decimal("0.10"), Decimal("0.001"), Decimal(5), 1, 2
)


def batch(*candles: Candle, at: int = START + 1, **rows: Any) -> Batch:
    return Batch(FEED.name, at, candles, **rows)


async def test_a_whole_period_is_read_back_as_it_was_committed(tmp_path: Path) -> None:
    """Candles, readiness and the run come back, every field, times in UTC."""
    async with opened(tmp_path / "a.duckdb") as store:
        given_batch = period(0)
        await store.commit(given_batch)
        assert await stored_candles(store) == {(bar.symbol, bar.open_time_ms): bar for bar in given_batch.candles}
        ready = await select(
            store, f"SELECT epoch_ms(run_time), item, epoch_ms(ready_at), source FROM {FEED.name}.run_status"
        )
        assert sorted(ready) == [(row.run_time_ms, row.item, row.ready_at_ms, "ws") for row in given_batch.ready]
        runs = await select(store, f"SELECT epoch_ms(run_time), expected, ready, missing FROM {FEED.name}.runs")
        assert runs == [(START + MINUTE, 5, 5, [])]
        recorded_at = await select(store, f"SELECT DISTINCT epoch_ms(recorded_at) FROM {FEED.name}.candles")
        assert recorded_at == [(given_batch.recorded_at_ms,)]


# The model: what a file holds after any batches at all, said once more and plainly.

minutes = st.integers(0, 5).map(lambda minute: START + minute * MINUTE)
names = st.sampled_from(["A", "B", "币安人生USDT"])
candles = st.builds(
    candle,
    symbol=names,
    minute=st.integers(0, 5),
    price=st.sampled_from([1.0, 1.5, 0.1 + 0.2]),
    source=st.sampled_from(Source),
)
readiness = st.builds(
    Ready,
    run_time_ms=minutes,
    item=names,
    ready_at_ms=st.integers(START, START + 9),
    source=st.sampled_from(["ws", "rest"]),
)
runs = st.builds(
    Run,
    run_time_ms=minutes,
    expected=st.integers(0, 9),
    ready=st.integers(0, 9),
    complete_at_ms=st.none() | st.just(START),
    last_item=st.none() | names,
    repaired=st.just(1),
    missing=st.lists(names, max_size=2).map(tuple),
)
gaps = st.builds(
    Gap,
    symbol=names,
    gap_start_ms=minutes,
    gap_end_ms=minutes,
    state=st.sampled_from(GapState),
    reason=st.just("late"),
    found_at_ms=st.just(START),
    closed_at_ms=st.none() | st.just(START),
)
rates = st.builds(
    FundingRate,
    symbol=names,
    funding_time_ms=minutes,
    rate_type=st.sampled_from(["SETTLED", "OTHER"]),
    funding_rate=st.sampled_from([0.1, -0.1]),
    mark_price=st.none() | st.just(1.0),
)
snapshots = st.builds(
    FundingSnapshot,
    run_time_ms=minutes,
    symbol=names,
    funding_rate=st.none() | st.just(0.1),
    next_funding_time_ms=st.none() | minutes,
    mark_price=st.none(),
    index_price=st.just(2.0),
)
batches = st.lists(
    st.builds(
        Batch,
        feed=st.just(FEED.name),
        recorded_at_ms=st.integers(START, START + 5),
        candles=st.lists(candles, max_size=10).map(tuple),
        ready=st.lists(readiness, max_size=5).map(tuple),
        runs=st.lists(runs, max_size=3).map(tuple),
        gaps=st.lists(gaps, max_size=3).map(tuple),
        funding_rates=st.lists(rates, max_size=3).map(tuple),
        funding_snapshots=st.lists(snapshots, max_size=3).map(tuple),
    ),
    min_size=1,
    max_size=6,
)

RANK = [Source.FILL, Source.PROVISIONAL, Source.WS, Source.REST, Source.ARCHIVE]


class Model:
    """Dictionaries in place of tables."""

    def __init__(self) -> None:
        self.candles: dict[tuple[str, int], Candle] = {}
        self.corrections: list[tuple[str, int, float, str, float, str, str]] = []
        self.rows: dict[str, dict[object, object]] = {
            name: {} for name in ("run_status", "runs", "gaps", "funding_rates", "funding_snapshots")
        }

    def take(self, batch: Batch) -> None:
        for later in batch.candles:
            key = (later.symbol, later.open_time_ms)
            now = self.candles.setdefault(key, later)
            if now.close == later.close:
                if RANK.index(now.source) < RANK.index(Source.WS) and RANK.index(later.source) > RANK.index(now.source):
                    self.candles[key] = later
                continue
            wins = RANK.index(later.source) >= RANK.index(now.source)
            stands = "later" if wins else "recorded"
            self.corrections.append((*key, now.close, now.source.value, later.close, later.source.value, stands))
            self.candles[key] = later if wins else now
        for row in batch.ready:
            self.rows["run_status"].setdefault((row.run_time_ms, row.item), row)
        for run in batch.runs:
            self.rows["runs"][run.run_time_ms] = run
        for gap in batch.gaps:
            self.rows["gaps"][gap.symbol, gap.gap_start_ms] = gap
        for rate in batch.funding_rates:
            self.rows["funding_rates"].setdefault((rate.symbol, rate.funding_time_ms, rate.rate_type), rate)
        for snapshot in batch.funding_snapshots:
            self.rows["funding_snapshots"].setdefault((snapshot.run_time_ms, snapshot.symbol), snapshot)


READ_BACK = {
    "run_status": (Ready, "epoch_ms(run_time), item, epoch_ms(ready_at), source"),
    "runs": (Run, "epoch_ms(run_time), expected, ready, epoch_ms(complete_at), last_item, repaired, missing"),
    "gaps": (
        Gap,
        "symbol, epoch_ms(gap_start), epoch_ms(gap_end), state, reason, epoch_ms(found_at), epoch_ms(closed_at)",
    ),
    "funding_rates": (FundingRate, "symbol, epoch_ms(funding_time), rate_type, funding_rate, mark_price"),
    "funding_snapshots": (
        FundingSnapshot,
        "epoch_ms(run_time), symbol, funding_rate, epoch_ms(next_funding_time), mark_price, index_price",
    ),
}


def told(row: Any) -> str:
    """A row as text to compare: lists and tuples alike, enumerations by their value."""
    return " ".join(
        str(tuple(value) if isinstance(value, list) else value)
        for value in (getattr(row, field.name) for field in fields(row))
    )


KEYS = {
    "candles": ("symbol", "open_time"),
    "funding_rates": ("symbol", "funding_time", "rate_type"),
    "funding_snapshots": ("run_time", "symbol"),
}


async def rows_of(store: Store, table: str) -> list[dict[str, Any]]:
    """All rows of a table."""
    return await store.beside(lambda con: con.execute(f"FROM {FEED.name}.{table}").to_arrow_table().to_pylist())


def follow(copies: dict[str, dict[object, object]], written: dict[str, pa.Table] | None) -> None:
    """Keep copies of the tables by nothing but the rows that commits answered with."""
    assert written is not None
    for table, rows in written.items():
        assert rows.schema == SCHEMAS[table]
        copy = copies.setdefault(table, {})
        for row in rows.to_pylist() if table in KEYS else ():
            key = tuple(row[name] for name in KEYS[table])
            copy[key] = row


# (Without shrinking: each example makes a database, and a shrink of them takes minutes.)
@settings(max_examples=40, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(history=batches, forgetful=st.booleans())
def test_no_duplicate_enters_whatever_the_batches(history: list[Batch], forgetful: bool) -> None:
    """The file agrees with a model in dictionaries, row by row, with the frontier known or forgotten in between."""

    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with opened(Path(folder) / "a.duckdb") as store:
                model = Model()
                followed: dict[str, dict[object, object]] = {}
                for given_batch in history:
                    follow(followed, await store.commit(given_batch))
                    model.take(given_batch)
                    for table, keys in KEYS.items():
                        stored = await rows_of(store, table)
                        assert {tuple(row[key] for key in keys): row for row in stored} == followed.get(table, {}), (
                            table
                        )
                    if forgetful:
                        await select(store, "SELECT 1")
                assert await stored_candles(store) == model.candles
                noted = await select(
                    store,
                    "SELECT symbol, epoch_ms(open_time), recorded.close, recorded.source, later.close, later.source, "
                    f"stands FROM {FEED.name}.corrections",
                )
                assert sorted(noted) == sorted(model.corrections)
                for table, (kind, columns) in READ_BACK.items():
                    found = [kind(*row) for row in await select(store, f"SELECT {columns} FROM {FEED.name}.{table}")]
                    assert sorted(map(told, found)) == sorted(map(told, model.rows[table].values())), table

    asyncio.run(run())


@pytest.mark.parametrize("later", [Source.WS, Source.REST, Source.ARCHIVE])
async def test_the_same_values_from_a_later_source_change_nothing(tmp_path: Path, later: Source) -> None:
    """Neither the row nor its source nor its time of recording changes, and nothing is corrected."""
    async with opened(tmp_path / "a.duckdb") as store:
        await store.commit(batch(candle()))
        before = await select(
            store,
            f"FROM (SELECT * REPLACE (epoch_ms(recorded_at) AS recorded_at, 0 AS open_time) FROM {FEED.name}.candles)",
        )
        await store.commit(batch(candle(source=later), at=START + 99))
        after = await select(
            store,
            f"FROM (SELECT * REPLACE (epoch_ms(recorded_at) AS recorded_at, 0 AS open_time) FROM {FEED.name}.candles)",
        )
        assert after == before
        assert await select(store, f"SELECT count(*) FROM {FEED.name}.corrections") == [(0,)]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("open", 9.0),
        ("high", 9.0),
        ("low", 9.0),
        ("close", math.nextafter(1.0, 2.0)),
        ("volume", 9.0),
        ("quote_volume", 9.0),
        ("trade_num", 9),
        ("taker_buy_base_asset_volume", 9.0),
        ("taker_buy_quote_asset_volume", 9.0),
    ],
)
async def test_any_field_that_differs_is_a_correction(tmp_path: Path, field: str, value: float) -> None:
    """Values are compared exactly, to the last bit, and every one of them counts; both versions are kept."""
    recorded = candle()
    later = msgspec.structs.replace(recorded, source=Source.REST, **{field: value})
    async with opened(tmp_path / "a.duckdb") as store:
        await store.commit(batch(recorded))
        await store.commit(batch(later, at=START + 99))
        assert await stored_candles(store) == {(later.symbol, START): later}
        noted = await select(
            store, f"SELECT recorded, later, stands, epoch_ms(noticed_at) FROM {FEED.name}.corrections"
        )
        assert len(noted) == 1
        was, became, stands, noticed = noted[0]
        assert (was[field], became[field], stands, noticed) == (getattr(recorded, field), value, "later", START + 99)
        assert (was["source"], became["source"]) == ("ws", "rest")


async def test_a_batch_that_fails_leaves_nothing_of_it(tmp_path: Path) -> None:
    """A row that cannot be stored takes the candles before it along, and the store goes on."""
    async with opened(tmp_path / "a.duckdb") as store:
        await store.commit(period(0))
        spoiled = replace(period(1), funding_rates=(FundingRate("BTCUSDT", START, None, 0.1, None),))  # type: ignore[arg-type]
        with pytest.raises(StoreError):
            await store.commit(spoiled)
        assert await select(store, f"SELECT count(*) FROM {FEED.name}.candles") == [(5,)]
        assert await select(store, f"SELECT count(*) FROM {FEED.name}.runs") == [(1,)]
        await store.commit(period(1))
        assert await select(store, f"SELECT count(*) FROM {FEED.name}.candles") == [(10,)]


async def test_trading_rules_get_a_row_only_when_they_change(tmp_path: Path) -> None:
    """The same list again writes nothing; a changed field, a reused ticker and a new symbol write one row each."""
    async with opened(tmp_path / "a.duckdb") as store:

        async def rows() -> int:
            return int((await select(store, f"SELECT count(*) FROM {FEED.name}.exginfo"))[0][0])

        await store.commit(batch(exginfo=(INFO,)))
        await store.commit(batch(exginfo=(INFO,), at=START + 2))
        assert await rows() == 1
        await store.commit(batch(exginfo=(replace(INFO, price_tick=Decimal("0.01")),), at=START + 3))
        assert await rows() == 2
        relisted = replace(INFO, price_tick=Decimal("0.01"), onboard_ms=START)
        await store.commit(batch(exginfo=(relisted, replace(INFO, symbol="ETHUSDT")), at=START + 4))
        assert await rows() == 4
        newest = await select(
            store,
            f"SELECT price_tick, lot_size, min_notional_value, epoch_ms(onboard_date), epoch_ms(valid_from) "
            f"FROM {FEED.name}.exginfo WHERE symbol = 'BTCUSDT' ORDER BY valid_from DESC LIMIT 1",
        )
        assert newest == [(Decimal("0.01"), Decimal("0.001"), Decimal(5), START, START + 4)]


async def test_rules_that_change_back_within_a_millisecond_or_a_stepping_clock_stay_apart(tmp_path: Path) -> None:
    """The newest word always has the newest valid_from, and keys stay distinct."""
    async with opened(tmp_path / "a.duckdb") as store:
        await store.commit(batch(exginfo=(INFO,), at=START))
        await store.commit(batch(exginfo=(replace(INFO, status="SETTLING"),), at=START))
        await store.commit(batch(exginfo=(INFO,), at=START - 500))
        found = await select(store, f"SELECT epoch_ms(valid_from), status FROM {FEED.name}.exginfo ORDER BY 1")
        assert found == [(START, "TRADING"), (START + 1, "SETTLING"), (START + 2, "TRADING")]


async def test_a_symbol_that_the_list_omits_keeps_its_rows(tmp_path: Path) -> None:
    """An omission is no statement: nothing is written, nothing is taken away."""
    async with opened(tmp_path / "a.duckdb") as store:
        await store.commit(batch(exginfo=(INFO, replace(INFO, symbol="LUNAUSDT"))))
        await store.commit(batch(exginfo=(INFO,), at=START + 9))
        assert await select(store, f"SELECT symbol, status FROM {FEED.name}.exginfo ORDER BY symbol") == [
            ("BTCUSDT", "TRADING"),
            ("LUNAUSDT", "TRADING"),
        ]


async def test_spot_rules_without_the_futures_fields_are_stored_as_nulls(tmp_path: Path) -> None:
    """None stays null, and null again is no change."""
    spot = SymbolInfo("BTCUSDT", None, "TRADING", "BTC", "USDT", None, Decimal("0.01"), Decimal("1E-5"), None)
    async with opened(tmp_path / "a.duckdb") as store:
        await store.commit(batch(exginfo=(spot,)))
        await store.commit(batch(exginfo=(spot,), at=START + 9))
        found = await select(
            store, f"SELECT contract_type, margin_asset, lot_size, onboard_date FROM {FEED.name}.exginfo"
        )
        assert found == [(None, None, Decimal("0.00001"), None)]


async def test_a_cancelled_waiter_loses_no_commit(tmp_path: Path) -> None:
    """The task is cancelled at once; what it had asked for is committed all the same."""
    async with opened(tmp_path / "a.duckdb") as store:
        tasks = [asyncio.create_task(store.commit(period(minute))) for minute in range(3)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
        assert len(await stored_candles(store)) == 15


async def test_two_stores_never_share_a_feeds_rows(tmp_path: Path) -> None:
    """Feeds of one file are apart: the same symbol and time in two of them are two candles."""
    from bmacdb.symbols import make_feed

    other = make_feed("usdt_spot", "1m")
    async with opened(tmp_path / "a.duckdb") as store:
        await store.add_feed(other, num_candles=10)
        await store.commit(batch(candle()))
        await store.commit(replace(batch(candle(price=7.0)), feed=other.name))
        found = await select(store, "SELECT feed, close FROM main.candles ORDER BY feed")
        assert found == [("usdt_perp_1m", 1.0), ("usdt_spot_1m", 7.0)]


async def test_what_else_writes_makes_the_frontier_forgotten(tmp_path: Path) -> None:
    """Rows put there by `run` are found by the next commit, though they lie beyond all that was committed."""

    def write(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute(
            f"INSERT INTO {FEED.name}.candles SELECT * REPLACE (open_time + INTERVAL 1 MINUTE AS open_time) "
            f"FROM {FEED.name}.candles"
        )

    async with opened(tmp_path / "a.duckdb") as store:
        await store.commit(batch(candle()))
        await store.run(write)
        await store.commit(batch(candle(minute=1)))
        assert len(await stored_candles(store)) == 2


def test_of_two_versions_from_one_source_the_later_stands() -> None:
    """A doubled closing frame that differs is the exchange's newer word, and is noted."""
    winner, correction = judge(candle(price=1.0), candle(price=2.0))
    assert winner == candle(price=2.0)
    assert correction is not None
    assert correction.stands == "later"


def test_a_confirmed_filler_takes_the_source_of_what_confirms_it() -> None:
    """An invented bar that the exchange confirms is invented no more; no correction, for nothing was wrong."""
    assert judge(candle(source=Source.FILL), candle(source=Source.REST)) == (candle(source=Source.REST), None)


@pytest.mark.parametrize("close", [1.0, 2.0])
@pytest.mark.parametrize("later", [Source.WS, Source.REST, Source.ARCHIVE])
async def test_a_provisional_bar_is_confirmed_or_corrected_by_any_other_source(
    tmp_path: Path, later: Source, close: float
) -> None:
    """REST asked too soon after the close never stands above another source; a change of values is a correction."""
    async with opened(tmp_path / "a.duckdb") as store:
        await store.commit(batch(candle(source=Source.PROVISIONAL), candle(minute=1)))
        assert await store.provisional(FEED) == [("BTCUSDT", START)]
        certain = candle(source=later, price=close)
        await store.commit(batch(certain, candle(minute=1, source=Source.PROVISIONAL, price=3.0), at=START + 99))
        assert await stored_candles(store) == {
            ("BTCUSDT", START): certain,
            ("BTCUSDT", candle(minute=1).open_time_ms): candle(minute=1),
        }
        assert await store.provisional(FEED) == []
        noted = await select(store, f"SELECT recorded.source, later.source, stands FROM {FEED.name}.corrections")
        changed = [("provisional", str(later), "later")] if close != 1.0 else []
        assert sorted(noted) == sorted([*changed, ("ws", "provisional", "recorded")])


async def test_an_unknown_feed_is_refused_by_name(tmp_path: Path) -> None:
    """A batch for a feed that was not added is an error that names it, and the store goes on."""
    store = await Store.open(tmp_path / "a.duckdb", clock=ManualClock(START))
    try:
        with pytest.raises(StoreError, match="usdt_perp_1m"):
            await store.commit(period(0))
        await store.add_feed(FEED, num_candles=5)
        await store.commit(period(0))
    finally:
        await store.close()
