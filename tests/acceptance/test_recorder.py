"""The recorder as a user runs it, over real sockets: the whole file equals the exchange's own history."""

from __future__ import annotations

import asyncio
import signal
from datetime import datetime
from pathlib import Path

import pytest

from bmacdb.clock import to_ms
from bmacdb.interval import DAY_MS, MINUTE_MS
from bmacdb.model import Market
from bmacdb.simulated import SimulatedExchange

from .support import Recorder, agrees, query

SPEED = 30.0


def klines_requests(exchange: SimulatedExchange) -> int:
    return exchange.stats.requests


async def test_two_feeds_in_one_file_equal_the_history_of_the_exchange(tmp_path: Path) -> None:
    async with (
        SimulatedExchange(symbols=12, speed=SPEED) as exchange,
        Recorder(
            exchange,
            tmp_path,
            [
                "--feed",
                "usdt_perp_1m",
                "--feed",
                "usdt_spot_1m",
                "--num-candles",
                "700",
                "--periods",
                "2",
                "--funding-rate",
            ],
        ) as recorder,
    ):
        assert await recorder.ended() == 0, recorder.story()
        for feed in ("usdt_perp_1m", "usdt_spot_1m"):
            assert agrees(exchange, recorder.database, feed, num_candles=700) > 11 * 700
            runs = query(recorder.database, f"SELECT expected, ready, missing FROM {feed}.runs ORDER BY run_time")
            assert len(runs) >= 2
            assert all(expected == ready and missing == [] for expected, ready, missing in runs[:2])
            unvouched = query(
                recorder.database,
                f"""SELECT * FROM {feed}.run_status s WHERE item NOT IN ('exginfo', 'funding') AND NOT EXISTS (
                    FROM {feed}.candles c WHERE c.symbol = s.item AND c.open_time = s.run_time - INTERVAL 1 MINUTE)""",
            )
            assert unvouched == [], "readiness without its candle"
        items = query(recorder.database, "SELECT DISTINCT item FROM usdt_perp_1m.run_status")
        assert {("exginfo",), ("funding",)} <= set(items)
        assert not query(recorder.database, "FROM usdt_spot_1m.funding_snapshots")
        snapshots = query(recorder.database, "SELECT run_time, count(*) FROM usdt_perp_1m.funding_snapshots GROUP BY 1")
        assert all(count == 12 for _, count in snapshots)
        assert query(recorder.database, "SELECT count(*) FROM usdt_perp_1m.funding_rates") != [(0,)]
        assert "429" not in str(exchange.stats.by_status)


async def test_a_restart_fetches_what_it_lacks_and_nothing_else(tmp_path: Path) -> None:
    arguments = ["--feed", "usdt_perp_1m", "--num-candles", "400"]
    async with SimulatedExchange(symbols=10, speed=SPEED) as exchange:
        async with Recorder(exchange, tmp_path, [*arguments, "--periods", "1"]) as first:
            assert await first.ended() == 0, first.story()
        ((rows, newest_ms),) = query(
            first.database, "SELECT count(*), epoch_ms(max(open_time)) FROM usdt_perp_1m.candles"
        )
        assert isinstance(newest_ms, int)
        await exchange.clock.sleep(150)  # some bars are missed
        async with Recorder(exchange, tmp_path, [*arguments, "--periods", "1"]) as second:
            assert await second.ended() == 0, second.story()
        (planned, *_) = second.told("history_planned")
        missing = planned["missing"]
        assert isinstance(missing, int)
        planned_ms = to_ms(datetime.fromisoformat(str(planned["at"])))
        gap_minutes = (planned_ms - newest_ms) // MINUTE_MS  # a busy machine takes minutes of this clock to start
        assert missing <= 10 * (gap_minutes + 1), "only the gap is fetched"
        assert query(second.database, "SELECT count(*) FROM usdt_perp_1m.candles") > [(rows,)]
        agrees(exchange, second.database, "usdt_perp_1m", num_candles=400)


async def test_after_a_day_only_the_day_is_fetched(tmp_path: Path) -> None:
    arguments = ["--feed", "usdt_perp_1m", "--num-candles", "2000", "--periods", "1"]
    async with SimulatedExchange(symbols=4, speed=SPEED, recent=0) as exchange:
        async with Recorder(exchange, tmp_path, arguments) as first:
            assert await first.ended() == 0, first.story()
        ended_ms = exchange.clock.now_ms()
    async with SimulatedExchange(symbols=4, speed=SPEED, recent=0, start_ms=ended_ms + DAY_MS) as later:
        async with Recorder(later, tmp_path, arguments) as second:
            assert await second.ended() == 0, second.story()
        missing = second.told("history_planned")[0]["missing"]
        assert isinstance(missing, int)
        assert 4 * 1440 <= missing <= 4 * 1445
        agrees(later, second.database, "usdt_perp_1m", num_candles=2000)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
async def test_a_signal_ends_it_cleanly_at_any_moment(tmp_path: Path, number: signal.Signals, status: int) -> None:
    arguments = ["--feed", "usdt_perp_1m", "--num-candles", "1500"]
    async with SimulatedExchange(symbols=20, speed=SPEED) as exchange:
        async with Recorder(exchange, tmp_path, arguments) as recorder:
            await recorder.until("history_round", 1 if status else 2)
            assert await recorder.stop(number) == status, recorder.story()
        assert not recorder.log_left(), "the file is clean"
        assert query(recorder.database, "SELECT count(*) > 0 FROM usdt_perp_1m.candles") == [(True,)]


async def test_a_kill_loses_nothing_that_a_restart_does_not_repair(tmp_path: Path) -> None:
    arguments = ["--feed", "usdt_perp_1m", "--num-candles", "300"]
    async with SimulatedExchange(symbols=20, speed=SPEED) as exchange:
        for kill_at in ("listen_group", "history_round", "run_started", "run_complete"):
            async with Recorder(exchange, tmp_path, arguments) as recorder:
                await recorder.until(kill_at)
                assert recorder.process is not None
                recorder.process.kill()
        async with Recorder(exchange, tmp_path, [*arguments, "--periods", "2"]) as recorder:
            assert await recorder.ended() == 0, recorder.story()
        agrees(exchange, recorder.database, "usdt_perp_1m", num_candles=300)


async def test_the_grids_of_long_bars_are_the_exchange_s_own(tmp_path: Path) -> None:
    feeds = ("coin_perp_3d", "usdt_perp_1w", "usdt_spot_1mo", "usdt_deli_1h", "usdt_tradfi_perp_1d")
    arguments = [argument for feed in feeds for argument in ("--feed", feed)]
    async with SimulatedExchange(symbols=5, speed=SPEED) as exchange:
        settled_ms = exchange.clock.now_ms() - 15_000  # what closes later may be too young to be believed
        async with Recorder(exchange, tmp_path, [*arguments, "--num-candles", "60"]) as recorder:
            await recorder.until("history_done", len(feeds))
            assert await recorder.stop() == 0, recorder.story()
        for feed in feeds:
            market, interval = {
                "coin_perp_3d": (Market.COIN_FUTURES, "3d"),
                "usdt_perp_1w": (Market.USDT_FUTURES, "1w"),
                "usdt_spot_1mo": (Market.SPOT, "1M"),
                "usdt_deli_1h": (Market.USDT_FUTURES, "1h"),
                "usdt_tradfi_perp_1d": (Market.USDT_FUTURES, "1d"),
            }[feed]
            found = query(recorder.database, f"SELECT symbol, epoch_ms(open_time) FROM {feed}.candles ORDER BY ALL")
            assert found
            now_ms = exchange.clock.now_ms()
            for symbol in {symbol for symbol, _ in found}:
                assert isinstance(symbol, str)
                mine = [open_ms for name, open_ms in found if name == symbol]
                assert isinstance(mine[0], int)
                theirs = exchange.expected(market, symbol, interval, mine[0], now_ms)
                closed = [bar for bar in theirs if bar.close_time_ms < now_ms]
                assert mine == [bar.open_time_ms for bar in closed][: len(mine)]
                assert len(mine) >= sum(bar.close_time_ms < settled_ms for bar in closed)


async def test_bars_of_a_second_keep_up(tmp_path: Path) -> None:
    async with (
        SimulatedExchange(symbols=5, speed=2.0) as exchange,
        Recorder(exchange, tmp_path, ["--feed", "usdt_spot_1s", "--num-candles", "200", "--periods", "5"]) as recorder,
    ):
        assert await recorder.ended() == 0, recorder.story()
        agrees(exchange, recorder.database, "usdt_spot_1s", num_candles=200)


async def test_keep_bounds_the_file(tmp_path: Path) -> None:
    arguments = ["--feed", "usdt_perp_1m", "--num-candles", "50", "--keep", "60"]
    async with SimulatedExchange(symbols=3, speed=240) as exchange:
        async with Recorder(exchange, tmp_path, [*arguments]) as recorder:
            await recorder.until("run_complete", 20)
            await asyncio.sleep(1.5)
            assert await recorder.stop() == 0
        ((most,),) = query(recorder.database, "SELECT max(n) FROM (SELECT count(*) n FROM candles GROUP BY symbol)")
        assert isinstance(most, int)
        assert most < 60 + 20
