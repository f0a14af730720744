"""Modules computed for all symbols at once: the same values and nulls, to the last bit, or symbol by symbol."""

from __future__ import annotations

import importlib
import logging
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bmacdb.cli.main import main
from bmacdb.factors.call import parse_call
from bmacdb.factors.library import Library
from bmacdb.kit import compute, ways
from bmacdb.kit.database import DatabaseSource
from bmacdb.kit.engine import Result, compute_plan
from bmacdb.kit.market import describe
from tests.factor.support import START_MS, Make, at, candles, database

STEP = 300_000
BARS = 140
LAST = START_MS + (BARS - 1) * STEP
HOLES = {3: [100], 7: range(90), 9: [BARS - 30, BARS - 31]}
"""A candle that is missing, a late listing, two missing candles, by the number of the symbol."""


@pytest.fixture(scope="module")
def source() -> DatabaseSource:
    frames = [
        candles(f"S{number:02}USDT", BARS, seed=number, missing=HOLES.get(number, ()), quiet=range(number, 20 + number))
        for number in range(14)
    ]
    return DatabaseSource.of(database(frames, num_candles=120))


def _lines(*lines: str) -> str:
    return "\n".join(["import numpy as np", "import pandas as pd", "import talib as ta", *lines]) + "\n"


def _module(*lines: str) -> str:
    body = ["df, n, name = args[0], args[1], args[2]", *lines, "return df"]
    return _lines("def signal(*args):", *(f"    {line}" for line in body))


AT_ONCE = {
    "Change": _module("df[name] = df['close'].pct_change(n)"),
    "Bias": _module("df[name] = df['close'] / df['close'].rolling(n, min_periods=1).mean() - 1"),
    "Moments": _module(
        "r = np.log(df['close'] / df['close'].shift(1))",
        "df[name] = r.rolling(n).skew() + r.rolling(n).kurt() + r.rolling(n).std(ddof=0) + r.rolling(n).var()",
    ),
    "Range": _module("df[name] = df['high'].rolling(n).max() / df['low'].rolling(n, min_periods=2).min() - 1"),
    "Average": _module("df[name] = df['close'].ewm(span=n, adjust=False).mean() - df['close'].ewm(com=3).std()"),
    "Middle": _module("w = df['close'].rolling(n)", "df[name] = w.median() + w.quantile(0.3) + w.rank() + w.count()"),
    "Relation": _module("df[name] = df['close'].rolling(n).corr(df['volume']) + df['close'].rolling(n).cov(df['low'])"),
    "Centred": _module("df[name] = df['close'].rolling(n, center=True).mean() + df['open'].expanding(3).max()"),
    "Where": _module(
        "df['up'] = np.where(df['close'] > df['close'].shift(1), df['volume'], 0)",
        "df['down'] = np.where(df['close'] > df['close'].shift(1), 0, 1)",
        "df[name] = df['up'].rolling(n).sum() / (df['down'].rolling(n).sum() + 1e-8)",
        "del df['up'], df['down']",
    ),
    "Zero": _module("df[name] = (df['close'] - df['open']) / df['volume'].diff().clip(lower=0)"),
    "Loc": _module(
        "df['side'] = 0",
        "df.loc[df['close'] > df['close'].rolling(n).mean(), 'side'] = 1",
        "df.loc[df['close'] < df['low'].rolling(n).min().shift(1), 'other'] = df['volume']",
        "df[name] = df['side'].rolling(n).sum() - df['other'].fillna(0)",
        "df = df.drop(columns=['side', 'other'])",
    ),
    "Across": _module(
        "a, b = df['high'] - df['low'], (df['high'] - df['close'].shift(1)).abs()",
        "df['tr'] = df[['high', 'low', 'open']].max(axis=1) - df[['high', 'close']].min(axis=1)",
        "df['tr'] += pd.concat([a, b], axis=1).max(axis=1) + np.max(np.array([a, b]), axis=0)",
        "df[name] = df['tr'].rolling(n).mean() + df[['high', 'low']].sum(axis=1) + df[['tr', 'low']].mean(axis=1)",
    ),
    "Array": _module(
        "up = np.where(df['close'].values > df['open'].values, df['close'].values, np.nan)",
        "df[name] = pd.Series(up).ffill().rolling(n, min_periods=1).mean() * (1 if len(df) > 5 else 0)",
    ),
    "Talib": _module(
        "upper, middle, lower = ta.BBANDS(df['close'], timeperiod=n)",
        "df[name] = (upper - lower) / middle + ta.RSI(df['close'].values, n) + ta.CORREL(df['close'], df['volume'], n)",
    ),
    "Position": _module("df['t'] = np.arange(len(df))", "df[name] = df['t'] * df['close'] + range(len(df))[-1]"),
    "Several": _lines(
        "def signal_multi_params(df, param_list) -> dict:",
        "    move = df['close'].diff()",
        "    return {str(n): move.rolling(int(n)).sum() for n in param_list}",
    ),
    "Older": _lines(
        "def signal(*args):",
        "    df, n, diff_num, factor_name = args",
        "    ma = df['close'].rolling(n, min_periods=1).mean()",
        "    df[factor_name] = (df['close'] / ma).replace([np.inf, -np.inf], np.nan).fillna(method='ffill')"
        " if diff_num else df['close'] / ma",
        "    return df",
    ),
}
APART = {
    "Mean": _module("df[name] = df['close'] - df['close'].mean()"),
    "Loop": _module("df[name] = [value * n for value in df['close']]"),
    "Applied": _module("df[name] = df['close'].rolling(n).apply(lambda x: x.iloc[-1] - x.iloc[0])"),
    "Branch": _module("df[name] = df['close'] if (df['close'] > 0).all() else np.nan"),
    "Named": _module("df[name] = np.where(df['symbol'] == 'S01USDT', 1, np.nan)"),
    "Swallows": _module(
        "try:", "    df[name] = df['close'].std() * df['close']", "except Exception:", "    df[name] = 0.0"
    ),
    "Sorted": _module("df = df.sort_values('close')", "df[name] = df['close'].shift(1)"),
    "Times": _module("df[name] = df['candle_begin_time'].dt.hour"),
    "Positive": _module("df[name] = df['close'].clip(lower=0).astype(int) if len(df) else 0"),
}


def _compute(
    source: DatabaseSource, package: str, names: list[str], first: int = LAST, *, exact: bool = True
) -> Result:
    plan = Library(package).plan([(name, 10) for name in names])
    return compute_plan(source, plan, first, LAST, exact=exact)


def _way(package: str, name: str) -> ways.Way:
    call = parse_call((name, 10))
    factor = Library(package).find(name)
    return ways.way_of(factor.bind(call))  # type: ignore[union-attr]


def _both(
    source: DatabaseSource, package: str, names: list[str], monkeypatch: pytest.MonkeyPatch, **how: object
) -> Result:
    """Computed at once, and then symbol by symbol: the same to the last bit."""
    found = _compute(source, package, names, **how)  # type: ignore[arg-type]
    with monkeypatch.context() as patched:
        patched.setattr(ways, "_LEAST", 10**9)
        alone = _compute(source, package, names, **how)  # type: ignore[arg-type]
    pd.testing.assert_frame_equal(found.frame, alone.frame, check_exact=True)
    for name in names:
        here, there = (result.frame[f"{name}_10"].to_numpy().view(np.int64) for result in (found, alone))
        nulls = found.frame[f"{name}_10"].isna()
        assert ((here == there) | nulls).all(), name
    return found


@pytest.mark.parametrize(
    "how", [{}, {"first": LAST - 25 * STEP}, {"first": LAST - 25 * STEP, "exact": False}], ids=["live", "exact", "pass"]
)
def test_what_acts_on_each_column_alone_is_computed_at_once(
    source: DatabaseSource, package: Make, monkeypatch: pytest.MonkeyPatch, how: dict[str, object]
) -> None:
    """At the latest run time and over ranges; symbols with holes and new ones beside them."""
    name = package({f"{module}.py": text for module, text in AT_ONCE.items()})
    found = _both(source, name, list(AT_ONCE), monkeypatch, **how)
    assert found.failures == []
    assert {module: _way(name, module).apart for module in AT_ONCE} == dict.fromkeys(AT_ONCE, "")
    assert all(found.frame[f"{module}_10"].notna().any() for module in AT_ONCE if module != "Centred")


def test_everything_else_is_computed_symbol_by_symbol(
    source: DatabaseSource, package: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the reason; a module that hides its failure is found out by its values."""
    name = package({f"{module}.py": text for module, text in APART.items()})
    found = _both(source, name, list(APART), monkeypatch)
    assert found.failures == []
    reasons = {module: _way(name, module).apart for module in APART}
    assert "mean of a column" in reasons["Mean"]
    assert "a loop over the rows" in reasons["Loop"]
    assert "0.0 for all symbols at once" in reasons["Swallows"]
    assert reasons["Positive"] == "", "whole numbers are values like others"
    assert all(reasons[module] for module in APART if module != "Positive")


def test_a_factor_that_differs_later_is_computed_again(
    source: DatabaseSource,
    package: Make,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also what was taken from batches before; it is said once, and it stays symbol by symbol."""
    monkeypatch.setattr(ways, "_CELLS", 8 * 120)  # several batches
    text = _module(
        "import pathlib",
        f"mark = pathlib.Path({str(tmp_path)!r}) / 'asked'",
        "times = len(mark.read_text()) if mark.exists() else 0",
        "if not isinstance(df, pd.DataFrame):",
        "    mark.write_text('x' * (times + 1))",
        "df[name] = df['close'] * (2 if times == 2 and not isinstance(df, pd.DataFrame) else 1)",
    )
    name = package({"Turns.py": text})
    with caplog.at_level(logging.WARNING, "bmacdb.kit"):
        found = _compute(source, name, ["Turns"], LAST - 3 * STEP)
    assert found.frame["Turns_10"].equals(found.frame["close"].rename("Turns_10"))
    assert "Turns:10 is computed symbol by symbol: at S" in caplog.text
    assert len(caplog.records) == 1
    assert _compute(source, name, ["Turns"]).frame["Turns_10"].notna().all()


def test_a_few_windows_are_not_worth_while(source: DatabaseSource, package: Make) -> None:
    """One symbol is computed as it always was."""
    name = package({"Change.py": AT_ONCE["Change"]})
    plan = Library(name).plan([("Change", 10)])
    compute_plan(source, plan, LAST, LAST, ["S01USDT"])
    assert str(_way(name, "Change")) == "not tried yet"
    compute(source.connection, [("Change", 10)], "S01USDT", at(LAST - 30 * STEP), at(LAST + STEP), package=name)
    assert str(_way(name, "Change")) == "all symbols at once", "its run times are windows too"


@pytest.mark.parametrize("first", [LAST, LAST - 60 * STEP])
def test_a_bar_that_all_symbols_lack_changes_nothing(
    package: Make, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    """The exchange stood still, or the record is young: rows are as many in all symbols, and they go at once."""
    frames = [candles(f"S{number:02}USDT", BARS, seed=number, missing=[70, 71, BARS - 9]) for number in range(9)]
    young = DatabaseSource.of(database(frames, num_candles=120))
    name = package({f"{module}.py": AT_ONCE[module] for module in ("Bias", "Talib", "Several")})
    with monkeypatch.context() as patched:
        patched.setattr("bmacdb.kit.workers.calculate", _never)
        _compute(young, name, ["Bias", "Talib", "Several"], first)
    found = _both(young, name, ["Bias", "Talib", "Several"], monkeypatch, first=first)
    assert found.failures == []


def _never(*_: object) -> None:
    raise AssertionError("a symbol was computed alone")


def test_a_module_that_is_loaded_again_is_tried_again(source: DatabaseSource, package: Make, tmp_path: Path) -> None:
    """As in a notebook, where somebody works on it."""
    name = package({"Mine.py": APART["Mean"]})
    _compute(source, name, ["Mine"])
    assert "mean of a column" in str(_way(name, "Mine"))
    (tmp_path / name / "Mine.py").write_text(AT_ONCE["Bias"], encoding="utf-8")
    importlib.reload(importlib.import_module(f"{name}.Mine"))
    assert _compute(source, name, ["Mine"]).frame["Mine_10"].notna().any()
    assert str(_way(name, "Mine")) == "all symbols at once"


def test_the_list_says_which_way_a_factor_goes(package: Make) -> None:
    """Tried on made-up candles, with the reason why not."""
    files = {"Bias": AT_ONCE["Bias"], "Mean": APART["Mean"], "Broken": _module("df[name] = df['nothing']")}
    name = package({f"{module}.py": text for module, text in files.items()})
    found = {module: describe(Library(name), module)["way"] for module in files}
    assert found["Bias"] == "all symbols at once"
    assert found["Mean"].startswith("symbol by symbol: AttributeError: mean of a column")
    assert found["Broken"] == "fails on made-up candles: KeyError: 'nothing'"


def test_the_command_lists_the_way(package: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the table of all factors, and by name with the reason."""
    name = package({"Bias9.py": AT_ONCE["Bias"], "Mean9.py": APART["Mean"]})
    (tmp_path / "bmacdb.toml").write_text(f'[factors]\npackage = "{name}"\n', encoding="utf-8")
    for more, lines in (
        ([], [r"Bias9 .*python \(own\)\s+all symbols at once", r"Mean9 .*python \(own\)\s+symbol by symbol\s*\n"]),
        (["--factor", "Mean9"], ["way +symbol by symbol: AttributeError: mean of a column"]),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["factors", str(tmp_path), "--list", *more])
        printed = capsys.readouterr().out
        assert not ended.value.code
        for line in lines:
            assert re.search(line, printed), printed
