"""A value belongs to its run time: live and research are alike, and the future changes nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bmacdb.factors.library import Library, bundled_names
from bmacdb.kit import compute
from bmacdb.kit.database import DatabaseSource
from bmacdb.kit.engine import compute_plan
from tests.factor.support import START_MS, add, at, candles, database, rough_market

STEP = 300_000
BARS = 260
SINGLE = sorted(name for name in bundled_names() if not name.startswith(("Alpha", "Cs")) and name != "AmihudRank")
SHORT = {"Macd": "3,6,4"}
ALL = [(name, SHORT.get(name, 12)) for name in SINGLE]
CROSS = ["CsRank:PctChg:12", "CsZscore:Bias:12", "CsQuantile:Amihud:12,3", "AmihudRank:6"]


@pytest.fixture(scope="module")
def frames() -> list[pd.DataFrame]:
    return rough_market(BARS)


@pytest.fixture(scope="module")
def source(frames: list[pd.DataFrame]) -> DatabaseSource:
    connection = database(frames)
    connection.execute(
        "INSERT INTO usdt_perp_5m.funding_rates SELECT symbol, open_time + INTERVAL '7 milliseconds', 'Regular', "
        "(open - 50) / 1000, NULL FROM usdt_perp_5m.candles WHERE epoch_ms(open_time) % 3600000 = 0"
    )
    return DatabaseSource.of(connection)


def test_live_and_research_are_identical(source: DatabaseSource) -> None:
    """Every factor, computed at one run time as a strategy does, has the bits it has in the panel of a range."""
    factors = [*ALL, *CROSS]
    panel = compute(source.connection, factors, None, at(START_MS + STEP), at(START_MS + BARS * STEP))
    plan = Library().plan(factors)
    for place in (0, 13, 95, 130, 199, 233, BARS - 1):
        open_ms = START_MS + place * STEP
        live = compute_plan(source, plan, open_ms, open_ms).frame.set_index("symbol")
        then = panel.xs(pd.Timestamp(at(open_ms + STEP)), level="candle_end_time")
        pd.testing.assert_frame_equal(
            live[plan.columns].sort_index(), then[plan.columns].sort_index(), check_names=False, check_exact=True
        )
    assert panel[plan.columns].notna().any().all(), "every factor has a value somewhere"


def test_a_factor_is_the_same_in_any_company(source: DatabaseSource) -> None:
    """Other factors with longer look-backs in the same statement, or other symbols left out, change no bit."""
    last = START_MS + (BARS - 1) * STEP
    together = compute_plan(source, Library().plan(ALL), last, last, ["AUSDT", "BUSDT"]).frame
    for name, param in ALL:
        alone = compute_plan(source, Library().plan([(name, param)]), last, last).frame
        alone = alone[alone["symbol"].isin(["AUSDT", "BUSDT"])].reset_index(drop=True)
        column = f"{name}_{param}"
        pd.testing.assert_series_equal(alone[column], together[column], check_exact=True)


def test_future_candles_change_no_past_value(frames: list[pd.DataFrame]) -> None:
    """Point in time: what is appended later, however wild, leaves every earlier value as it was."""
    cut = START_MS + 200 * STEP
    whole = pd.concat(frames)
    before = database([whole[whole["open_time"] < pd.Timestamp(at(cut))]])
    factors = [*ALL, *CROSS]
    earlier = compute(before, factors, None, at(START_MS + STEP), at(cut))
    later_rows = whole[whole["open_time"] >= pd.Timestamp(at(cut))].copy()
    later_rows[["open", "high", "low", "close"]] *= 1000.0
    add(before, later_rows.sort_values(["open_time", "symbol"]))
    add(before, candles("LATEUSDT", BARS, seed=99, missing=range(200)))
    later = compute(before, factors, None, at(START_MS + STEP), at(cut))
    pd.testing.assert_frame_equal(earlier, later, check_exact=True)


def test_rows_in_any_order_give_the_same_bits(frames: list[pd.DataFrame]) -> None:
    """Repaired candles are written late and lie out of order in the file; no value notices."""
    factors = [(name, param) for name, param in ALL if not name.startswith("Funding")]
    orderly = database(frames)
    mixed = database()
    add(mixed, pd.concat(frames).sample(frac=1.0, random_state=3))
    last = at(START_MS + BARS * STEP)
    pd.testing.assert_frame_equal(
        compute(orderly, factors, None, last, last), compute(mixed, factors, None, last, last), check_exact=True
    )


def test_a_missing_candle_never_shifts() -> None:
    """With a hole in the window, a change over n candles is null or over n candles, and a mean is of what is there."""
    whole = candles("AUSDT", 30, seed=1)
    close = whole["close"].to_numpy()
    holed = database([candles("AUSDT", 30, seed=1, missing=[19, 25])])
    panel = compute(holed, ["PctChg:4", "Ma:4", "Volatility:4"], "AUSDT", at(START_MS + STEP), at(START_MS + 30 * STEP))
    found = {int((stamp.timestamp() * 1000 - START_MS) // STEP) - 1: row for (stamp, _), row in panel.iterrows()}
    assert 19 not in found
    assert 25 not in found
    assert np.isnan(found[23]["PctChg_4"]), "its other end is missing"
    assert found[24]["PctChg_4"] == close[24] / close[20] - 1
    assert found[20]["PctChg_4"] == close[20] / close[16] - 1, "a hole in between does not matter to two candles"
    assert found[21]["Ma_4"] == pytest.approx(np.mean(close[[18, 20, 21]]), rel=1e-12)
    assert np.isnan(found[22]["Volatility_4"])
    assert np.isnan(found[23]["Volatility_4"])
    assert found[24]["Volatility_4"] > 0


def test_fundings_count_from_the_candle_they_fall_into() -> None:
    """A settlement counts when it is two minutes old: not at its own boundary, and with 5m candles at the next."""
    connection = database([candles("AUSDT", 40, seed=1)])
    late, sharp = (START_MS + 10 * STEP + 5) * 1000, (START_MS + 20 * STEP) * 1000
    connection.execute(
        "INSERT INTO usdt_perp_5m.funding_rates"
        " SELECT 'AUSDT', make_timestamptz(unnest(?)), 'Regular', unnest(?), NULL",
        [[late, sharp, sharp + 1], [0.1, 0.2, 0.4]],
    )
    factors = ["FundingRate:12", "FundingSum:12", "FundingMean:12"]
    panel = compute(connection, factors, None, at(START_MS + STEP), at(START_MS + 40 * STEP))
    rows = panel.reset_index()
    assert np.isnan(rows["FundingRate_12"][9]), "the candle that closed at the settlement"
    assert rows["FundingRate_12"][10] == 0.1
    assert rows["FundingRate_12"][20] == 0.4
    assert rows["FundingSum_12"][20] == pytest.approx(0.7)
    assert rows["FundingMean_12"][20] == pytest.approx(0.7 / 3)
    assert rows["FundingSum_12"][22] == pytest.approx(0.6)
    assert np.isnan(rows["FundingSum_12"][32])


def test_cross_sections_are_of_the_whole_market(source: DatabaseSource) -> None:
    """Rank, z-score and quantile are those of pandas over the market, also where few symbols are shown."""
    last = START_MS + 229 * STEP
    plan = Library().plan(["PctChg:12", "CsRank:PctChg:12", "CsZscore:PctChg:12", "CsQuantile:PctChg:12,3"])
    market = compute_plan(source, plan, last, last).frame.set_index("symbol")
    value = market["PctChg_12"]
    rank = value.rank(method="min", pct=True)
    np.testing.assert_allclose(market["CsRank_PctChg:12"], rank, rtol=1e-12)
    np.testing.assert_allclose(market["CsZscore_PctChg:12"], (value - value.mean()) / value.std(), rtol=1e-9)
    groups = 1 + np.floor((value.rank(method="min") - 1) * 3 / value.count())
    np.testing.assert_allclose(market["CsQuantile_PctChg:12,3"], groups)
    few = compute_plan(source, plan, last, last, ["BUSDT"]).frame.set_index("symbol")
    assert few.index.tolist() == ["BUSDT"]
    pd.testing.assert_series_equal(few.loc["BUSDT"], market.loc["BUSDT"])


def test_fundings_of_minutes_count_when_the_recorder_has_them() -> None:
    """With 1m candles a settlement counts from the third run time after it, live and in research alike."""
    connection = database([candles("AUSDT", 20, seed=1, interval="1m")], feed="usdt_perp_1m")
    connection.execute(
        "INSERT INTO usdt_perp_1m.funding_rates SELECT 'AUSDT', make_timestamptz(?), 'Regular', 0.1, NULL",
        [(START_MS + 10 * 60_000 + 5) * 1000],
    )
    panel = compute(connection, ["FundingRate:5"], None, at(START_MS + 60_000), at(START_MS + 20 * 60_000))
    known = [stamp.minute for (stamp, _), rate in panel["FundingRate_5"].items() if rate == 0.1]
    assert known == [13, 14, 15, 16, 17]
