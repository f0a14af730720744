"""Factors of the user's own: every signature of the community, none of them able to harm the others."""

from __future__ import annotations

import logging
import sys

import numpy as np
import pandas as pd
import pytest

from bmacdb.errors import UsageError
from bmacdb.factors.library import Library
from bmacdb.kit import BmacSingleSymbolCalculator, CandleReader, compute
from bmacdb.kit.database import DatabaseSource
from bmacdb.kit.engine import compute_plan
from bmacdb.kit.market import describe
from tests.factor.support import START_MS, Make, at, candles, database

STEP = 300_000
BARS = 80


@pytest.fixture(scope="module")
def source() -> DatabaseSource:
    frames = [
        candles("AUSDT", BARS, seed=1),
        candles("BUSDT", BARS, seed=2, missing=[60]),
        candles("CUSDT", BARS, seed=3),
    ]
    return DatabaseSource.of(database(frames, num_candles=50))


def _last(source: DatabaseSource, package: str, *factors: object) -> pd.DataFrame:
    last = START_MS + (BARS - 1) * STEP
    return compute_plan(source, Library(package).plan(factors), last, last).frame.set_index("symbol")


PLAIN = (
    "def signal(*args):\n    df, n, name = args[0], args[1], args[2]\n"
    "    df[name] = df['close'].pct_change(n)\n    return df\n"
)


def test_the_predecessors_example_runs_unchanged(source: DatabaseSource, package: Make) -> None:
    """signal(*args) with (df, n, factor_name), looked up before the bundled factor of the same name."""
    own = PLAIN.replace("pct_change(n)", "pct_change(n) * 100")
    found = _last(source, package({"PctChg.py": own}), ("PctChg", 5), ("Mtm", 5))
    np.testing.assert_allclose(found["PctChg_5"]["AUSDT"], found["Mtm_5"]["AUSDT"] * 100, rtol=1e-12)


def test_both_forms_of_the_neutral_framework_run(source: DatabaseSource, package: Make) -> None:
    """(df, n, diff_num, factor_name), whether unpacked from *args or spelled out."""
    name = package(
        {
            "Four.py": "def signal(*args):\n    df, n, diff_num, name = args[0], args[1], args[2], args[3]\n"
            "    assert diff_num == 0\n    df[name] = df['close'].diff(n)\n    return df\n",
            "Spelled.py": "def signal(df, n, diff_num, factor_name):\n    df[factor_name] = df['close'].diff(n)\n"
            "    return df\n",
            "Newest.py": "def signal(candle_df, param, *args):\n"
            "    candle_df[args[0]] = candle_df['close'].diff(param)\n    return candle_df\n",
        }
    )
    found = _last(source, name, ("Four", 3), ("Spelled", 3), ("Newest", 3), ("Mom", 3))
    for column in ("Four_3", "Spelled_3", "Newest_3"):
        np.testing.assert_array_equal(found[column].drop("BUSDT"), found["Mom_3"].drop("BUSDT"))


def test_signal_multi_params_is_asked_once_for_all_parameters(source: DatabaseSource, package: Make) -> None:
    """{str(param): Series}, in preference to signal, with text parameters as they are."""
    name = package(
        {
            "Several.py": "CALLS = []\n"
            "def signal(*args):\n    raise AssertionError('signal_multi_params comes first')\n"
            "def signal_multi_params(df, param_list):\n    CALLS.append(list(param_list))\n"
            "    return {str(p): df['close'] * int(str(p).split(',')[0]) for p in param_list}\n"
        }
    )
    found = _last(source, name, ("Several", 2), ("Several", "3,20"))
    np.testing.assert_allclose(found["Several_2"], found["close"] * 2)
    np.testing.assert_allclose(found["Several_3,20"], found["close"] * 3)
    assert sys.modules[f"{name}.Several"].CALLS == [[2, "3,20"]] * 3


def test_a_factor_that_spoils_its_frame_spoils_only_its_own(source: DatabaseSource, package: Make) -> None:
    """Each gets a copy: helper columns, dropped columns and overwritten prices reach no other factor."""
    name = package(
        {
            "Spoil.py": "def signal(*args):\n    df = args[0]\n    df['close'] = 0.0\n"
            "    df.loc[:, 'open'] = -1.0\n    df['helper'] = 1\n"
            "    df[args[2]] = 1.0\n    df.drop(columns=['volume'], inplace=True)\n    return df\n",
            "After.py": "def signal(*args):\n    df = args[0]\n    assert 'helper' not in df\n"
            "    df[args[2]] = df['close'] + df['open'] + df['volume']\n    return df\n",
        }
    )
    found = _last(source, name, ("Spoil", 1), ("After", 1))
    np.testing.assert_allclose(found["After_1"], found["close"] + found["open"] + found["volume"])


def test_a_factor_that_raises_is_named_once_and_the_others_are_computed(
    source: DatabaseSource, package: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """Its name, the symbol and the traceback once; null in its column; import errors and wrong results likewise."""
    name = package(
        {
            "Raises.py": "def signal(*args):\n    raise RuntimeError('boom')\n",
            "Broken.py": "import there_is_no_such_module\ndef signal(*args):\n    return args[0]\n",
            "Empty.py": "def signal(*args):\n    return None\n",
            "Long.py": "def signal_multi_params(df, param_list):\n    return {str(p): [1.0] for p in param_list}\n",
        }
    )
    factors = [("Raises", 1), ("Broken", 1), ("Empty", 1), ("Long", 1), ("PctChg", 1)]
    run_time = at(START_MS + BARS * STEP)
    with caplog.at_level(logging.ERROR, "bmacdb.kit"):
        panel = compute(source.connection, factors, None, run_time, run_time, package=name)
    assert panel["PctChg_1"].notna().all()
    assert panel[["Raises_1", "Broken_1", "Empty_1", "Long_1"]].isna().all(axis=None)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 4, "once for each factor, and not for each symbol"
    text = "\n".join(told)
    assert "Raises:1 failed at AUSDT" in text
    assert "RuntimeError: boom" in text
    assert "there_is_no_such_module" in text
    assert "NoneType" in text
    assert "shape (1,)" in text


def test_a_look_back_is_all_that_is_read(source: DatabaseSource, package: Make) -> None:
    """LOOKBACK candles where it is declared, a number or a function; num_candles without it; holes are not filled."""
    lines = "def signal(*args):\n    df = args[0]\n    df[args[2]] = float(len(df))\n    return df\n"
    name = package(
        {
            "Fixed.py": "LOOKBACK = 12\n" + lines,
            "Grows.py": "LOOKBACK = lambda n: 2 * n\n" + lines,
            "Whole.py": lines,
        }
    )
    found = _last(source, name, ("Fixed", 3), ("Grows", 15), ("Whole", 1))
    assert found.loc["AUSDT", ["Fixed_3", "Grows_15", "Whole_1"]].tolist() == [12, 30, 50]
    assert found.loc["BUSDT", ["Fixed_3", "Grows_15", "Whole_1"]].tolist() == [12, 29, 49], "one candle is missing"


def test_research_calls_python_factors_as_live_does(source: DatabaseSource, package: Make) -> None:
    """By default a frame for every run time, so that even a factor with a long memory is alike to the last bit."""
    name = package(
        {
            "Memory.py": "LOOKBACK = 20\ndef signal(*args):\n    df = args[0]\n"
            "    df[args[2]] = df['close'].ewm(span=30, adjust=False).mean().rolling(5).std()\n    return df\n"
        }
    )
    start, end = at(START_MS + 70 * STEP), at(START_MS + BARS * STEP)
    panel = compute(source.connection, [("Memory", 1)], None, start, end, package=name)
    last = panel.xs(pd.Timestamp(end), level="candle_end_time")["Memory_1"]
    np.testing.assert_array_equal(last, _last(source, name, ("Memory", 1))["Memory_1"])
    quick = compute(source.connection, [("Memory", 1)], None, start, end, package=name, exact=False)
    assert not panel["Memory_1"].equals(quick["Memory_1"]), "one pass remembers more than the look-back"


SECTION = (
    "is_cross = True\n"
    "def signal(*args):\n    df, n, name = args[0], args[1], args[2]\n"
    "    df[name] = df.groupby('candle_begin_time')[f'PctChg_{n}'].rank(ascending=True, method='min')\n    return df\n"
    "def get_factor_list(n):\n    return [('PctChg', n)]\n"
)


def test_factors_across_the_market_get_what_they_compare(source: DatabaseSource, package: Make) -> None:
    """is_cross with get_factor_list(n): one frame of all symbols, with the columns it named."""
    name = package({"Ranked.py": SECTION})
    found = _last(source, name, ("Ranked", 7), ("PctChg", 7))
    np.testing.assert_array_equal(found["Ranked_7"], found["PctChg_7"].rank(method="min"))
    run_times = at(START_MS + 40 * STEP), at(START_MS + BARS * STEP)
    panel = compute(source.connection, [("Ranked", 7)], ["BUSDT"], *run_times, package=name)
    assert set(panel.index.get_level_values("symbol")) == {"BUSDT"}
    assert panel["Ranked_7"].iloc[-1] == found.loc["BUSDT", "Ranked_7"]
    assert list(panel.columns[-1:]) == ["Ranked_7"], "what it compares is not shown"


def test_a_section_may_look_back(source: DatabaseSource, package: Make) -> None:
    """LOOKBACK run times of the whole market: the change of a rank."""
    text = SECTION.replace("is_cross = True\n", "is_cross = True\nLOOKBACK = 4\n").replace(
        "    return df\n", "    df[name] = df.groupby('symbol')[name].diff(3)\n    return df\n", 1
    )
    name = package({"Moved.py": text, "Ranked.py": SECTION})
    end = at(START_MS + BARS * STEP)
    panel = compute(source.connection, [("Moved", 7), ("Ranked", 7)], None, at(START_MS + 60 * STEP), end, package=name)
    ranks = panel["Ranked_7"].unstack()
    assert panel["Moved_7"].unstack()["AUSDT"].iloc[-1] == ranks["AUSDT"].iloc[-1] - ranks["AUSDT"].iloc[-4]


def test_sql_factors_of_the_users_own(source: DatabaseSource, package: Make) -> None:
    """A select list in the user's package is computed as the bundled ones are; and they may call each other."""
    name = package(
        {
            "Spread.sql": "-- Range of the candle.\n-- params: n int >= 1 = 1\nmax(high - low) OVER last_n\n",
            "Twice.sql": "-- params: n int = 1\n2 * Spread($n) + Mom(3) * 0\n",
        }
    )
    found = _last(source, name, ("Spread", 1), ("Twice", 1))
    np.testing.assert_allclose(found["Spread_1"], found["high"] - found["low"])
    np.testing.assert_allclose(found["Twice_1"].drop("BUSDT"), 2 * found["Spread_1"].drop("BUSDT"))


def test_a_factor_in_the_old_form_is_told_its_new_form(package: Make) -> None:
    """And that form, put in its place, is a factor."""
    old = (
        "-- Mean range.\n-- params: n int >= 1 = 24\n-- lookback: $n + 1\n-- missing: null\n"
        "-- series width: (high[t] - low[t]) / close[t - 1]\nlist_avg(width[pos - $n + 1 : pos]) - close[pos - $n]\n"
    )
    with pytest.raises(UsageError, match="over lists, which is no more") as error:
        Library(package({"Own.sql": old})).plan([("Own", 5)])
    new = str(error.value).split("\n\n")[1]
    assert "(high - low) / lag(close) OVER bars AS width,\n" in new
    assert "avg(width) OVER last_n - lag(close, $n) OVER bars" in new
    assert Library(package({"Own.sql": new})).plan([("Own", 5)]).sql[0].lookback == 6


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("Own.py", "x = 1\n", "neither signal"),
        ("Own.py", PLAIN + "extra_data_dict = {'coin-cap': ['cap']}\n", "extra data \\(coin-cap\\)"),
        ("Own.py", "is_cross = True\n" + PLAIN, "get_factor_list"),
        ("Own.py", "LOOKBACK = 0\n" + PLAIN, "LOOKBACK is 0"),
        ("Own.sql", "-- Only a head.\n", "no expression"),
        ("Own.sql", "-- Odd.\nclose / clse\n", "line 2, column 9: there is no column or step clse"),
        ("Own.sql", "-- Seer.\nlead(close) OVER bars\n", "line 2, column 1: lead.. reads the future"),
        ("Own.sql", "-- Texts.\nclose + symbol\n", "DuckDB refuses it: .*VARCHAR"),
        ("Own.sql", "-- Chance.\nclose + random()\n", "another value each time"),
        ("Own.sql", "-- File.\nread_text('/etc/passwd')\n", "DuckDB refuses it"),
    ],
)
def test_what_cannot_be_a_factor_is_refused_with_the_reason(package: Make, file: str, text: str, says: str) -> None:
    """Before anything is read."""
    with pytest.raises(UsageError, match=says):
        Library(package({file: text})).plan(["Own"])


def test_a_short_history_gives_nulls_and_one_warning(source: DatabaseSource, caplog: pytest.LogCaptureFixture) -> None:
    """A parameter longer than the history is no error."""
    run_time = at(START_MS + BARS * STEP)
    with caplog.at_level(logging.WARNING, "bmacdb.kit"):
        panel = compute(source.connection, ["PctChg:500", "Ma:500"], None, run_time, run_time)
    assert panel["PctChg_500"].isna().all()
    assert panel["Ma_500"].notna().all(), "a mean by position is of what there is"
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["factor PctChg"]
    assert "looks back 501 candles, and the record holds 80" in caplog.text


@pytest.mark.parametrize(
    ("factors", "says"),
    [
        (["PctChange:5"], "no factor 'PctChange'.*PctChg"),
        (["pctchg:5"], "PctChg"),
        (["PctChg:ten"], "'ten', which is not an integer"),
        (["PctChg:2.5"], "not an integer"),
        (["PctChg:0"], "at least 1"),
        (["PctChg:5,6"], "2 parameters"),
        (["Macd:12,26,9,1"], "4 parameters"),
        (["CsRank"], "parameter factor is missing"),
        (["CsRank:PctCh:5"], "no factor 'PctCh'.*PctChg"),
        (["PctChg:5", ("PctChg", 5)], "asked for twice: PctChg_5"),
        ([], "no factor"),
        (['PctChg"; DROP TABLE candles; --:5'], "not a plain name"),
        ([("PctChg", "5'); DROP")], "refused"),
        ([("../PctChg", 5)], "not a plain name"),
        ([("os.path", 5)], "not a plain name"),
        ([("PctChg", None, 3)], "not of the form"),
        ([("PctChg", True)], "not a number or a text"),
    ],
)
def test_bad_requests_are_refused_with_a_remedy(factors: list[object], says: str) -> None:
    """Unknown names with the nearest ones, wrong parameters, names that are no identifiers: nothing reaches SQL."""
    with pytest.raises(UsageError, match=says):
        Library().plan(factors)


def test_a_factor_given_without_a_parameter_takes_its_default(source: DatabaseSource) -> None:
    """`Bias` is Bias:20, in a column of its own name."""
    found = _last(source, "factor", "Bias", "Bias:20", ("Macd", (3, 6, 4)))
    assert found["Bias"].equals(found["Bias_20"].rename("Bias"))
    assert "Macd_3,6,4" in found


def test_every_module_of_the_package_is_listed(package: Make) -> None:
    """One's own factors with the first line of their docstring; helpers and broken ones with the reason."""
    name = package(
        {
            "Mine.py": '"""What mine is for.\n\nMore."""\nLOOKBACK = 7\n' + PLAIN,
            "helpers.py": "x = 1\n",
            "Broken.py": "import there_is_no_such_module\n",
        }
    )
    library = Library(name)
    rows = {known: describe(library, known) for known in library.names()}
    assert rows["Mine"]["description"] == "What mine is for."
    assert rows["Mine"]["look_back"] == "7"
    assert "neither signal" in rows["helpers"]["description"]
    assert "there_is_no_such_module" in rows["Broken"]["description"]
    assert rows["PctChg"]["form"] == "sql"
    with pytest.raises(UsageError, match=r"no factor 'Mime'.*Mine"):
        describe(library, "Mime")


async def test_a_symbol_that_is_not_there_has_no_rows(source: DatabaseSource) -> None:
    """An empty frame with all columns, and the symbol is late; SQL and Python alike."""
    calc = BmacSingleSymbolCalculator("NOUSDT", CandleReader(source.connection), ["PctChg:5"])
    found = await calc.calc_factors(at(START_MS + BARS * STEP))
    assert list(found.columns[-2:]) == ["taker_buy_quote_asset_volume", "PctChg_5"]
    assert found.empty
    assert calc.late == ("NOUSDT",)
    assert compute(source.connection, ["PctChg:5"], [], at(START_MS + STEP), at(START_MS + 9 * STEP)).empty
