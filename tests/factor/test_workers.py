"""Python factors in processes of their own: the same values, the same failures, and nothing left behind."""

from __future__ import annotations

import asyncio
import importlib
import logging
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from time import sleep

import pandas as pd
import psutil
import pytest

from bmacdb.errors import UsageError
from bmacdb.factors.library import Library
from bmacdb.kit import BmacAllMarketCalculator, CandleReader, compute
from bmacdb.kit.database import DatabaseSource
from bmacdb.kit.engine import Result, compute_plan
from bmacdb.kit.workers import Workers
from tests.factor.support import START_MS, at, database, rough_market

STEP = 300_000
BARS = 260
LAST = START_MS + (BARS - 1) * STEP
PACKAGE = "factors_in_workers"

FILES = {
    "Moves.py": "LOOKBACK = lambda n: 4 * n\ndef signal(*args):\n    df, n, name = args[:3]\n"
    "    df[name] = df['close'].pct_change().rolling(n).skew()\n    return df\n",
    "Memory.py": "LOOKBACK = 40\ndef signal(*args):\n    df = args[0]\n"
    "    df[args[2]] = df['close'].ewm(span=30, adjust=False).mean().rolling(5).std()\n    return df\n",
    "Several.py": "def signal_multi_params(df, param_list):\n"
    "    return {str(p): df['volume'].rolling(int(str(p).split(',')[0])).mean() for p in param_list}\n",
    "Picky.py": "def signal(*args):\n    df = args[0]\n    df[args[2]] = 1.0\n"
    "    if len(df) < 100:\n        raise RuntimeError(f'only {len(df)} rows')\n    return df\n",
    "Prints.py": "print('hello from the module')\ndef signal(*args):\n    print('hello')\n    df = args[0]\n"
    "    df[args[2]] = df['close']\n    return df\n",
    "Dies.py": "import os\ndef signal(*args):\n    df = args[0]\n    if len(df) < 60:\n        os._exit(7)\n"
    "    df[args[2]] = 1.0\n    return df\n",
    "DiesOnce.py": "import os\nfrom pathlib import Path\ndef signal(*args):\n    df = args[0]\n"
    "    try:\n        (Path(__file__).parent / 'died').touch(exist_ok=False)\n"
    "    except FileExistsError:\n        pass\n    else:\n        os._exit(7)\n    df[args[2]] = 1.0\n    return df\n",
    "Waits.py": "import time\nfrom pathlib import Path\ndef signal(*args):\n"
    "    (Path(__file__).parent / 'waiting').touch()\n    time.sleep(1000)\n",
    "Here.py": "import sys\nif 'pytest' not in sys.modules:\n    raise ImportError('only in the first process')\n"
    "def signal(*args):\n    df = args[0]\n    df[args[2]] = df['close']\n    return df\n",
}
OWN = [("Moves", 10), ("Memory", 1), ("Several", 3), ("Several", "8,2"), ("Prints", 1)]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A package of factors that is found by the path of this process alone."""
    folder = tmp_path_factory.mktemp("own")
    (folder / PACKAGE).mkdir()
    for name, text in FILES.items():
        (folder / PACKAGE / name).write_text(text, encoding="utf-8")
    sys.path.insert(0, str(folder))
    yield PACKAGE
    sys.path.remove(str(folder))
    for name in [known for known in sys.modules if known.split(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def source() -> DatabaseSource:
    return DatabaseSource.of(database(rough_market(BARS), num_candles=150))


@pytest.fixture(scope="module")
def workers() -> Iterator[Mapping[int, Workers]]:
    """Kept from test to test, as between run times."""
    made = {number: Workers(number) for number in (1, 2, 3)}
    yield made
    for each in made.values():
        each.close()


def _values(source: DatabaseSource, workers: Workers, package: str, factors: list[object], **more: object) -> Result:
    plan = Library(package).plan(factors)
    return compute_plan(replace(source, workers=workers), plan, more.pop("first", LAST), LAST, **more)


@pytest.mark.parametrize("first", [LAST, LAST - 6 * STEP])
def test_the_number_of_workers_changes_no_bit(
    source: DatabaseSource, workers: Mapping[int, Workers], package: str, first: int
) -> None:
    """One's own factors and the bundled, at one run time and over several, with holes and new listings."""
    factors = [*OWN, ("Rsi", 5), ("Bias", 20), ("CorrPriceVolume", 24)]
    found = [_values(source, each, package, factors, first=first).frame for each in workers.values()]
    assert len(workers[1].running) == 0
    assert len(workers[2].running) == 2
    assert found[0]["Moves_10"].notna().any()
    pd.testing.assert_frame_equal(found[1], found[0], check_exact=True)
    pd.testing.assert_frame_equal(found[2], found[0], check_exact=True)


def test_what_raises_in_a_worker_is_told_as_here(
    source: DatabaseSource, workers: Mapping[int, Workers], package: str
) -> None:
    """The same symbol, the same traceback; the others are computed."""
    found = [_values(source, each, package, [("Picky", 1), ("Moves", 10)]) for each in workers.values()]
    for other in found[1:]:
        assert [str(failure) for failure in other.failures] == [str(failure) for failure in found[0].failures]
        pd.testing.assert_frame_equal(other.frame, found[0].frame, check_exact=True)
    told = str(found[0].failures[0])
    assert "Picky:1 failed at" in told
    assert "RuntimeError: only" in told


def test_workers_are_kept_until_they_are_closed_and_may_begin_again(source: DatabaseSource, package: str) -> None:
    """The same processes for each calculation; none of them is there afterwards."""
    workers = Workers(2)
    assert workers.running == ()
    _values(source, workers, package, [("Moves", 10)])
    first = workers.running
    _values(source, workers, package, [("Memory", 1)])
    assert workers.running == first
    workers.close()
    assert workers.running == ()
    assert not any(map(psutil.pid_exists, first))
    found = _values(source, workers, package, [("Moves", 10)])
    assert found.frame["Moves_10"].notna().any()
    workers.close()
    workers.close()


def test_closing_ends_a_calculation_that_would_not(source: DatabaseSource, package: str) -> None:
    """It fails with the reason, and its processes are gone."""
    folder = Path(importlib.import_module(f"{package}.Waits").__file__ or "").parent
    workers = Workers(2)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(_values, source, workers, package, [("Waits", 1)])
        while not (folder / "waiting").exists():
            assert not running.done()
            sleep(0.01)
        pids = workers.running
        workers.close()
        with pytest.raises(UsageError, match="closed while"):
            running.result()
    assert pids
    assert not any(map(psutil.pid_exists, pids))


def test_workers_that_are_forgotten_end(source: DatabaseSource, package: str) -> None:
    """A reader that nobody closed leaves no process behind."""
    workers = Workers(2)
    _values(source, workers, package, [("Moves", 10)])
    pids = workers.running
    del workers
    assert not any(map(psutil.pid_exists, pids))


def test_a_worker_that_dies_is_replaced_and_its_work_done_again(
    source: DatabaseSource, package: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said which one, and how it ended; no value is lost."""
    workers = Workers(2)
    with caplog.at_level(logging.WARNING, "bmacdb.kit"):
        found = _values(source, workers, package, [("DiesOnce", 1)])
    assert (found.frame["DiesOnce_1"] == 1.0).all()
    assert found.failures == []
    assert len(caplog.records) == 1
    assert "ended with status 7" in caplog.text
    assert len(workers.running) == 2
    workers.close()


def test_a_factor_that_kills_its_worker_is_null_for_those_symbols_alone(
    source: DatabaseSource, package: str, caplog: pytest.LogCaptureFixture
) -> None:
    """After the second time it is a failure that names the symbol; this process lives."""
    workers = Workers(2)
    with caplog.at_level(logging.WARNING, "bmacdb.kit"):
        found = _values(source, workers, package, [("Dies", 1)])
    values = found.frame.set_index("symbol")["Dies_1"]
    assert values.isna().sum() == 1
    assert pd.isna(values["NEWUSDT"])
    assert [failure.symbol for failure in found.failures] == ["NEWUSDT"]
    assert "status 7, twice" in str(found.failures[0])
    assert len(workers.running) == 2
    workers.close()


def test_what_workers_cannot_import_is_computed_here(
    source: DatabaseSource, package: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once, with the reason."""
    workers = Workers(2)
    with caplog.at_level(logging.WARNING, "bmacdb.kit"):
        found = _values(source, workers, package, [("Here", 1)])
    assert found.frame["Here_1"].equals(found.frame["close"].rename("Here_1"))
    assert "only in the first process" in caplog.text
    workers.close()


def test_without_an_interpreter_to_start_everything_is_computed_here(
    source: DatabaseSource, package: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a program that Python is built into."""
    monkeypatch.setattr(sys, "executable", "")
    workers = Workers(2)
    with caplog.at_level(logging.WARNING, "bmacdb.kit"):
        found = _values(source, workers, package, [("Moves", 10)])
        _values(source, workers, package, [("Moves", 10)])
    assert found.frame["Moves_10"].notna().any()
    assert [record.getMessage().split(" (")[0] for record in caplog.records] == ["no worker can be started"]


def test_unasked_workers_are_for_large_calculations_alone(source: DatabaseSource, package: str) -> None:
    """Seven symbols are computed sooner than a process starts."""
    workers = Workers()
    _values(source, workers, package, [("Moves", 10)])
    assert workers.running == ()
    for wrong in (0, -1, True, 1.5):
        with pytest.raises(UsageError, match="workers is"):
            Workers(wrong)  # type: ignore[arg-type]


async def test_a_reader_gives_its_workers_to_calculators_and_to_research(source: DatabaseSource, package: str) -> None:
    """`workers=`; several calculations at a time; closing the reader ends them."""
    run_time = at(LAST + STEP)
    with CandleReader(source.connection, workers=2) as reader:
        calculators = [BmacAllMarketCalculator(reader, reader, [factor], package) for factor in OWN[:3]]
        tables = await asyncio.gather(*(each.calc_all_factors(run_time) for each in calculators))
        panel = compute(reader, OWN[:3], None, run_time, run_time, package=package)
        pids = reader.source.workers.running
        assert len(pids) == 2
    assert not any(map(psutil.pid_exists, pids))
    last = panel.droplevel(0)
    for table, (name, param) in zip(tables, OWN[:3], strict=True):
        pd.testing.assert_series_equal(table[f"{name}_{param}"], last[f"{name}_{param}"], check_exact=True)


def test_a_strategy_without_a_main_guard_is_not_run_again_in_workers(tmp_path: Path) -> None:
    """Nor is its output disturbed by what factors print, nor a process or a warning left at its end."""
    (tmp_path / "its_factors").mkdir()
    (tmp_path / "its_factors" / "Own.py").write_text(FILES["Prints.py"], encoding="utf-8")
    program = tmp_path / "strategy.py"
    root = Path(__file__).resolve().parents[2]
    program.write_text(
        textwrap.dedent(
            f"""
            import sys
            sys.path.append({str(root)!r})
            from bmacdb.kit import CandleReader, compute
            from tests.factor.support import START_MS, at, candles, database
            reader = CandleReader(database([candles("AUSDT", 30, seed=1), candles("BUSDT", 30, seed=2)]), workers=2)
            run_time = at(START_MS + 30 * {STEP})
            panel = compute(reader, [("Own", 1)], None, run_time, run_time, package="its_factors")
            print("trading", int(panel["Own_1"].notna().sum()), len(reader.source.workers.running))
            """
        ),
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)], cwd=tmp_path, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "trading 2 2"
    assert done.stdout.count("trading") == 1
    assert "Error" not in done.stderr
    assert "Warning" not in done.stderr
