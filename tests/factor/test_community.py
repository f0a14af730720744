"""Modules of the community's as they are: their forms, their frames, their directories."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bmacdb.errors import UsageError
from bmacdb.factors.library import Library
from bmacdb.kit import BmacSingleSymbolCalculator, CandleReader, compute, convert_interval_to_timedelta
from bmacdb.kit.database import DatabaseSource
from bmacdb.kit.engine import Result, compute_plan
from tests.factor.support import START_MS, Make, at, candles, database

STEP = 300_000
BARS = 60
LAST = START_MS + (BARS - 1) * STEP
SYMBOLS = ("AUSDT", "BUSDT", "CUSDT", "DUSDT")


def _frames() -> dict[str, pd.DataFrame]:
    return {symbol: candles(symbol, BARS, seed=seed) for seed, symbol in enumerate(SYMBOLS)}


@pytest.fixture(scope="module")
def source() -> DatabaseSource:
    connection = database(list(_frames().values()), num_candles=40)
    connection.execute(
        "INSERT INTO usdt_perp_5m.funding_rates SELECT 'AUSDT', make_timestamptz(?), 'settled', 0.0003, NULL",
        [(START_MS + 50 * STEP) * 1000],
    )
    return DatabaseSource.of(connection)


def _run(source: DatabaseSource, package: str, *factors: object, first: int = LAST) -> Result:
    return compute_plan(source, Library(package).plan(factors), first, LAST)


def _last(source: DatabaseSource, package: str, *factors: object) -> pd.DataFrame:
    result = _run(source, package, *factors)
    assert [str(failure) for failure in result.failures] == []
    return result.frame.set_index("symbol")


def _file(body: str, head: str = "def signal(*args):") -> str:
    lines = [f"    {line}" for line in body.strip().splitlines()]
    return "\n".join(["import numpy as np", "import pandas as pd", head, *lines]) + "\n"


def test_rows_are_numbered_as_in_a_file(source: DatabaseSource, package: Make) -> None:
    """What is built as `pd.Series(array)`, reset, or set by number meets the frame's rows."""
    head = "df, n, name = args\nassert isinstance(df.index, pd.RangeIndex) and df.index[0] == 0\n"
    ways = {
        "Built": "df[name] = pd.Series(df['close'].values) - pd.Series(np.arange(len(df)))",
        "Reset": "df = df.reset_index()\ndf[name] = df['close'] - df['index']\ndel df['index']",
        "Placed": "for row in range(len(df)):\n    df.loc[row, name] = df.loc[row, 'close'] - row",
    }
    files = {f"{way}.py": _file(head + text + "\nreturn df") for way, text in ways.items()}
    found = _last(source, package(files), *((way, 1) for way in ways))
    for way in ways:
        np.testing.assert_array_equal(found[f"{way}_1"], found["close"] - 39, err_msg=way)


def test_rows_that_a_module_moves_or_drops_find_their_place(source: DatabaseSource, package: Make) -> None:
    """By the index, by candle_begin_time where that is gone; told when neither says which."""
    head = "df, n, name = args\ndf[name] = df['close']\n"
    ways = {
        "Dropped": "return df.iloc[5:]",
        "Renumbered": "return df.iloc[5:].reset_index(drop=True)",
        "Turned": "return df.sort_values('candle_begin_time', ascending=False)",
        "Timed": "return df.set_index('candle_begin_time')",
        "Frame": "return pd.DataFrame({name: df[name].to_numpy()})",
    }
    files = {f"{way}.py": _file(head + text) for way, text in ways.items()}
    files["Lost.py"] = _file(head + "return pd.DataFrame({name: df[name].to_numpy()[5:]}, index=range(100, 135))")
    name = package(files)
    result = _run(source, name, *((way, 1) for way in (*ways, "Lost")))
    for way in ways:
        np.testing.assert_array_equal(result.frame[f"{way}_1"], result.frame["close"], err_msg=way)
    assert {failure.call.name for failure in result.failures} == {"Lost"}
    assert "35 rows and the frame 40" in str(result.failures[0])


@pytest.mark.parametrize(
    ("head", "unpacked"),
    [
        ("def signal(*args):", "df, n, diff_num, factor_name = args"),
        ("def signal(*args):", "df = args[0]; n = args[1]; diff_num = args[2]; factor_name = args[3]"),
        ("def signal(df, n, diff_num, factor_name):", "pass"),
        ("def signal(args):", "df, n, diff_num, factor_name = args"),
        ("def signal(*args):", "df, n, factor_name = args; diff_num = 0"),
        ("def signal(candle_df, param, *args):", "df, n, factor_name = candle_df, param, args[0]; diff_num = 0"),
        (
            "def signal(df, n, *args):",
            "factor_name = args[0]; diff_num = args[1] if len(args) > 1 else 0",
        ),
    ],
)
def test_each_form_of_the_arguments_is_seen(source: DatabaseSource, package: Make, head: str, unpacked: str) -> None:
    """By the signature and by what a module does with its arguments."""
    text = _file(f"{unpacked}\nassert diff_num == 0\ndf[factor_name] = df['close'].diff(n)\nreturn df", head)
    found = _last(source, package({"Form.py": text}), ("Form", 3), ("Mom", 3))
    np.testing.assert_array_equal(found["Form_3"], found["Mom_3"])


@pytest.mark.parametrize("arguments", ["df, n, factor_name = args", "df, n, diff_num, factor_name = args"])
def test_the_cause_is_the_modules_own(source: DatabaseSource, package: Make, arguments: str) -> None:
    """No attempt with other arguments hides it, whatever it is."""
    files = {
        "Typo.py": _file(f"{arguments}\ndf[factor_name] = there_is_no_such_name\nreturn df"),
        "Index.py": _file(f"{arguments}\ndf[factor_name] = [1, 2][n]\nreturn df"),
    }
    result = _run(source, package(files), ("Typo", 5), ("Index", 5))
    told = {failure.call.name: str(failure) for failure in result.failures}
    assert "NameError: name 'there_is_no_such_name' is not defined" in told["Typo"]
    assert "IndexError: list index out of range" in told["Index"]
    assert "tuple index" not in told["Index"]


def test_names_and_parameters_of_the_communitys(source: DatabaseSource, package: Make) -> None:
    """Signs and spaces in names; a list is handed on as a list, a tuple as a tuple, a text as a text."""
    kinds = _file("df, n, name = args\ndf[name] = {list: 1, tuple: 2, str: 3, int: 4}[type(n)]\nreturn df")
    several = (
        "def signal_multi_params(df, param_list):\n"
        "    return {str(p): df['close'] * sum(p) if isinstance(p, list) else df['close'] for p in param_list}\n"
    )
    name = package({"Z-Cci+1 (2).py": kinds, "7_Kind.py": kinds, "Sum.py": several})
    plain = _last(source, name, ("Z-Cci+1 (2)", [5, 20]), ("7_Kind", (5, 20)), ("Sum", [2, 3]), "7_Kind:9", "Sum:4")
    assert plain.loc["AUSDT", ["Z-Cci+1 (2)_5,20", "7_Kind_5,20", "7_Kind_9"]].tolist() == [1, 2, 4]
    np.testing.assert_array_equal(plain["Sum_2,3"], plain["close"] * 5)
    assert _last(source, name, "7_Kind:5,20").loc["AUSDT", "7_Kind_5,20"] == 3
    for wrong in ("../Kind", "Kind'", "a.b", "", " Kind", "a;b"):
        with pytest.raises(UsageError, match="not a plain name"):
            Library(name).plan([(wrong, 1)])


def test_symbol_and_funding_are_columns(source: DatabaseSource, package: Make) -> None:
    """symbol in each row; fundingRate 0 where nothing was settled, null where the feed has no funding."""
    files = {
        "Only.py": _file("df, n, name = args\ndf[name] = np.where(df['symbol'] == 'BUSDT', 1, np.nan)\nreturn df"),
        "Fee.py": _file("df, n, name = args\ndf[name] = df['fundingRate'].rolling(n).sum()\nreturn df"),
    }
    name = package(files)
    found = _last(source, name, ("Only", 1), ("Fee", 20))
    assert found["Only_1"].dropna().to_dict() == {"BUSDT": 1.0}
    assert found["Fee_20"].to_dict() == {"AUSDT": 0.0003, "BUSDT": 0, "CUSDT": 0, "DUSDT": 0}
    assert _last(source, name, ("Fee", 9))["Fee_9"]["AUSDT"] == 0, "it was settled ten candles ago"
    without = DatabaseSource.of(database(list(_frames().values()), num_candles=40))
    assert _last(without, name, ("Fee", 20))["Fee_20"].isna().all()


RANK = "df.groupby('candle_begin_time')[f'Ret_{n}'].rank(ascending=True, method='min', pct=True)"
RET = "def signal(*args):\n    df, n, name = args\n    df[name] = df['close'].pct_change(n)\n    return df\n"
NEEDS = "\ndef get_factor_list(n):\n    return [('Ret', n)]\n"


def _direct(frames: dict[str, pd.DataFrame], end: int, n: int, text: str) -> pd.Series:
    """As the framework has it: each symbol's factor over its frame, then the section over all rows."""
    parts = []
    for symbol, whole in frames.items():
        frame = whole.iloc[end - 40 : end].rename(columns={"open_time": "candle_begin_time"})
        parts.append(frame.assign(symbol=symbol, **{f"Ret_{n}": frame["close"].pct_change(n)}))
    rows = pd.concat(parts).sort_values(["candle_begin_time", "symbol"], ignore_index=True)
    space: dict[str, object] = {}
    exec(text, space)
    found = space["signal"](rows, n, "x")  # type: ignore[operator]
    return found[found["candle_begin_time"] == rows["candle_begin_time"].max()].set_index("symbol")["x"]


@pytest.mark.parametrize("inside", [False, True], ids=["beside", "inside"])
def test_sections_are_known_by_their_directory(
    source: DatabaseSource, package: Make, tmp_path: Path, inside: bool
) -> None:
    """`sections/` beside the package or in it, without is_cross; a rank of a mean has the whole window."""
    files = {
        "Demo.py": _file(f"df, n, name = args\ndf[name] = {RANK}\nreturn df") + NEEDS,
        "Moved.py": _file(
            f"df, n, name = args\ndf['rank'] = {RANK}\ndf[name] = df.groupby('symbol')['rank'].diff(n)\nreturn df"
        )
        + NEEDS,
        "Smooth.py": _file(
            f"df, n, name = args\ndf['rank'] = {RANK}\n"
            "df[name] = df.groupby('symbol')['rank'].transform(lambda x: x.rolling(n, min_periods=1).mean())\nreturn df"
        )
        + NEEDS,
    }
    name = package({"Ret.py": RET})
    folder = tmp_path / name / "sections" if inside else tmp_path / "sections"
    folder.mkdir()
    for file, text in files.items():
        (folder / file).write_text(text, encoding="utf-8")
    try:
        library = Library(name)
        assert {"Demo", "Moved", "Ret", "Smooth"} <= set(library.own())
        plan = library.plan([(section, 7) for section in ("Demo", "Moved", "Smooth")])
        assert [call.lookback for call, _ in plan.sections] == [1], "Demo surely compares one run time"
        assert [call.call.name for call, _ in plan.whole] == ["Moved", "Smooth"]
        live = compute_plan(source, plan, LAST, LAST).frame.set_index("symbol")
        for section in ("Demo", "Moved", "Smooth"):
            expected = _direct(_frames(), BARS, 7, files[f"{section}.py"])
            np.testing.assert_array_equal(live[f"{section}_7"], expected, err_msg=section)
        factors = [(section, 7) for section in ("Moved", "Smooth")]
        panel = compute(source.connection, factors, ["BUSDT"], at(LAST - STEP), at(LAST + STEP), package=name)
        past = _direct(_frames(), BARS - 2, 7, files["Moved.py"])
        assert panel["Moved_7"].tolist()[0] == past["BUSDT"], "research has each run time's own window"
        assert panel["Moved_7"].iloc[-1] == live["Moved_7"]["BUSDT"]
        (folder / "Empty.py").write_text(RET, encoding="utf-8")
        with pytest.raises(UsageError, match=r"sections, and needs get_factor_list"):
            Library(name).plan(["Empty:1"])
    finally:
        for known in [known for known in sys.modules if known.split(".")[0] == "sections"]:
            del sys.modules[known]


async def test_helper_columns_stay_in_one_symbols_frame(source: DatabaseSource, package: Make) -> None:
    """As the predecessor's did; not in the market's table, and no factor's column is overwritten by them."""
    text = _file(
        "df, n, name = args\ndf['ma'] = df['close'].rolling(n).mean()\ndf['up'] = df['close'] > df['ma']\n"
        "df['Mom_3'] = 0.0\ndf[name] = df['close'] / df['ma']\nreturn df"
    )
    calculator = BmacSingleSymbolCalculator(
        "BUSDT", CandleReader(source.connection), [("Mine", 5), ("Mom", 3)], package({"Mine.py": text})
    )
    found = await calculator.calc_factors(at(LAST + STEP))
    assert list(found.columns[-4:]) == ["Mine_5", "Mom_3", "ma", "up"]
    np.testing.assert_allclose(found["ma"], found["close"].rolling(5).mean())
    assert found["up"].dtype == bool
    assert found["Mom_3"].abs().max() > 0


def test_intervals_as_lengths() -> None:
    """The predecessor's function, with its older letters."""
    assert convert_interval_to_timedelta("5m") == convert_interval_to_timedelta("5T") == timedelta(minutes=5)
    assert convert_interval_to_timedelta("4H") == timedelta(hours=4)
    assert convert_interval_to_timedelta("1d") == timedelta(days=1)
    for wrong in ("1M", "7m", "h", ""):
        with pytest.raises(UsageError):
            convert_interval_to_timedelta(wrong)
