"""Python factors over the rows of some symbols: here, or in a worker, with the same result to the last bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bmacdb.factors.call import Call
from bmacdb.factors.module import Failure, PythonCall, apply
from bmacdb.kit.rows import Places, Rows, SymbolRows

__all__ = ["Answer", "Task", "calculate", "nulls"]

Column = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Task:
    """What to compute of each symbol.

    `opens` is the open time of each place on the grid, `end_ms` when the last bar closes, `first` the place of the
    first row asked for. `calls`: each with the bars that it looks back. `exact`: a frame of its own for every run time.
    """

    opens: Places
    end_ms: int
    first: int
    calls: tuple[tuple[PythonCall, int], ...]
    exact: bool


@dataclass(slots=True)
class Answer:
    """Symbol by symbol: the places asked for that have a row, and a value for each of them and each factor.

    `longest`: the most rows a symbol had, the look-back included.
    """

    symbols: list[str] = field(default_factory=list)
    places: list[Places] = field(default_factory=list)
    values: dict[Call, list[Column]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    longest: int = 0

    def add(self, symbol: str, places: Places, values: dict[Call, Column], length: int) -> None:
        self.symbols.append(symbol)
        self.places.append(places)
        self.longest = max(self.longest, length)
        for call, column in values.items():
            self.values.setdefault(call, []).append(column)


def calculate(task: Task, rows: Rows) -> Answer:
    """The values; a symbol without a row in the range is left out. A module that raises gives nulls and a failure."""
    answer = Answer()
    for one in rows.frames(task.opens, task.end_ms):
        wanted = one.places[one.places >= task.first]
        if len(wanted):
            answer.add(one.symbol, wanted, _symbol(task, one, wanted, answer.failures), len(one.places))
    return answer


def nulls(task: Task, rows: Rows, text: str) -> Answer:
    """The answer when the process that was to compute it is gone: `text` is why."""
    answer = Answer()
    for number, symbol in enumerate(rows.symbols):
        places = rows.places[rows.bounds[number - 1] if number else 0 : rows.bounds[number]]
        wanted = places[places >= task.first]
        if len(wanted):
            answer.add(symbol, wanted, {call.call: np.full(len(wanted), np.nan) for call, _ in task.calls}, len(places))
    answer.failures = [Failure(call.call, answer.symbols[0], text) for call, _ in task.calls if answer.symbols]
    return answer


def _symbol(task: Task, rows: SymbolRows, wanted: Places, failures: list[Failure]) -> dict[Call, Column]:
    found = {call.call: np.full(len(wanted), np.nan) for call, _ in task.calls}
    live = task.first == len(task.opens) - 1
    passes: dict[tuple[int, bool], list[PythonCall]] = {}
    for call, window in task.calls:
        once = call.factor.windowed or not task.exact or live
        passes.setdefault((window, once), []).append(call)
    for (window, once), calls in passes.items():
        if once:
            failures += _pass(task, rows, wanted, window, calls, found)
            continue
        for number, place in enumerate(wanted):
            low, high = np.searchsorted(rows.places, [place - window + 1, place + 1])
            columns, failed = apply(rows.frame.iloc[low:high], calls, rows.symbol)
            failures += failed
            for name, column in columns.items():
                found[name][number] = column[-1]
    return found


def _pass(
    task: Task, rows: SymbolRows, wanted: Places, window: int, calls: Sequence[PythonCall], found: dict[Call, Column]
) -> list[Failure]:
    """One pass over what the factors look back at and the rows asked for."""
    low = task.first - window + 1
    there = slice(int(np.searchsorted(rows.places, low)), None)
    columns, failures = apply(rows.frame.iloc[there], calls, rows.symbol)
    for name, column in columns.items():
        found[name][:] = column[len(column) - len(wanted) :]
    return failures
