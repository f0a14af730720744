"""The predecessor's files of a real recorder, from its start on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pandas as pd

from bmacdb.interval import HOUR_MS, MINUTE_MS
from bmacdb.model import Market
from bmacdb.simulated import SimulatedExchange
from tests.acceptance.support import Recorder
from tests.simulated.support import START_MS


async def test_a_configuration_of_the_predecessor_has_files_before_its_first_run(tmp_path: Path) -> None:
    """With an hour's interval that is up to an hour earlier; by the names that the configuration has."""
    (tmp_path / "config.json").write_text('{"interval": "1h", "trade_type": "usdt_swap", "num_candles": 30}')
    start_ms = START_MS + 10 * MINUTE_MS
    async with (
        asyncio.timeout(60),
        SimulatedExchange(symbols=4, recent=0, start_ms=start_ms) as exchange,
        Recorder(exchange, tmp_path, ["--export-dir", str(tmp_path / "out")]) as recorder,
    ):
        names = [one.symbol for one in exchange.universe.trading(Market.USDT_FUTURES, start_ms)]
        perpetuals = [name for name in names if exchange.universe.get(Market.USDT_FUTURES, name).quote_asset == "USDT"]
        folder, run_time = tmp_path / "out" / "usdt_swap_1h", "20261124_010000"  # START_MS in UTC+8
        while not (folder / f"币安人生USDT_{run_time}.ready").exists():
            assert recorder.process is not None
            assert recorder.process.returncode is None, recorder.story()
            await asyncio.sleep(0.05)
        assert await recorder.stop() == 0
        assert not recorder.told("run_complete")
    listed = pd.read_parquet(tmp_path / "out" / "exginfo_1h" / "exginfo.pqt")["symbol"].to_list()
    assert listed == [name for name in perpetuals if name in listed], "in the exchange's order"
    assert "币安人生USDT" in listed
    frame = pd.read_parquet(folder / "BTCUSDT.pqt")
    bars = exchange.expected(Market.USDT_FUTURES, "BTCUSDT", "1h", START_MS - 30 * HOUR_MS, START_MS)
    assert frame["close"].to_list() == [bar.close for bar in bars]


async def test_the_funding_file_has_every_symbol_of_the_market(tmp_path: Path) -> None:
    """As the predecessor writes what premiumIndex answers: also of symbols that the feed does not record."""
    out = tmp_path / "out"
    async with (
        asyncio.timeout(100),
        SimulatedExchange(symbols=4, recent=0, speed=30.0) as exchange,
        Recorder(
            exchange,
            tmp_path,
            ["--feed", "usdt_perp_1m", "--funding-rate", "--num-candles=20", "--periods=2", f"--export-dir={out}"],
        ) as recorder,
    ):
        assert await recorder.ended() == 0, recorder.story()
        market = {one.symbol for one in exchange.universe.trading(Market.USDT_FUTURES, exchange.clock.now_ms())}
    funding = pd.read_parquet(out / "exginfo_1m" / "funding.pqt")
    assert {"BTCUSDC", "ETHBTC", "XAUUSDT"} < market
    assert set(funding["symbol"]) == market
    assert str(funding["time"].dtype) == "datetime64[us, Asia/Hong_Kong]"
