"""Python factors over the rows of some symbols: here, or in a worker, with the same result to the last bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from bmacdb.factors.call import Call
from bmacdb.factors.module import Failure, PythonCall
from bmacdb.kit.modules import apply
from bmacdb.kit.rows import Places, Rows, SymbolRows, numbered

__all__ = ["Answer", "Piece", "Task", "calculate", "nulls"]

Column = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Task:
    """What to compute of each symbol.

    `opens` is the open time of each place on the grid, `first` the place of the first row asked for. `calls`: each with
    the bars that it looks back. `exact`: a frame of its own for every run time. `helpers`: the columns that modules add
    besides their own are wanted too.
    """

    opens: Places
    first: int
    calls: tuple[tuple[PythonCall, int], ...]
    exact: bool
    helpers: bool = False

    def once(self, call: PythonCall) -> bool:
        """Whether one pass gives all its values."""
        return call.factor.windowed or not self.exact or self.first == len(self.opens) - 1


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of some symbols, the places wanted of each, and which of the task's calls."""

    rows: Rows
    wanted: tuple[Places, ...]
    calls: tuple[int, ...]

    def cut(self, most_symbols: int) -> Iterator[Piece]:
        """Pieces of at most so many symbols."""
        numbers = range(len(self.rows.symbols))
        for first in range(0, len(numbers), most_symbols):
            part = numbers[first : first + most_symbols]
            yield Piece(self.rows.of(part), self.wanted[first : first + most_symbols], self.calls)


@dataclass(slots=True)
class Answer:
    """By symbol: the places of the values, and the values of each factor. `longest`: the most rows a symbol had."""

    places: dict[str, Places] = field(default_factory=dict)
    values: dict[Call, dict[str, Column]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    helpers: dict[str, pd.Series] = field(default_factory=dict)
    longest: int = 0

    def add(self, symbol: str, places: Places, values: Mapping[Call, Column]) -> None:
        self.places[symbol] = places
        for call, column in values.items():
            self.values.setdefault(call, {})[symbol] = column

    def joined(self, other: Answer) -> Answer:
        """Both, of different symbols."""
        values = {
            call: self.values.get(call, {}) | other.values.get(call, {})
            for call in (*self.values, *(call for call in other.values if call not in self.values))
        }
        return Answer(
            self.places | other.places,
            values,
            self.failures + other.failures,
            self.helpers | other.helpers,
            max(self.longest, other.longest),
        )


def calculate(task: Task, piece: Piece) -> Answer:
    """The values, symbol by symbol. A module that raises gives nulls and a failure."""
    answer = Answer()
    calls = [task.calls[number] for number in piece.calls]
    for one, wanted in zip(piece.rows.frames(task.opens), piece.wanted, strict=True):
        answer.add(one.symbol, wanted, _symbol(task, calls, one, wanted, answer))
    return answer


def nulls(task: Task, piece: Piece, text: str) -> Answer:
    """The answer when the process that was to compute it is gone: `text` is why."""
    answer = Answer()
    calls = [task.calls[number][0].call for number in piece.calls]
    for symbol, wanted in zip(piece.rows.symbols, piece.wanted, strict=True):
        answer.add(symbol, wanted, {call: np.full(len(wanted), np.nan) for call in calls})
    answer.failures = [Failure(call, piece.rows.symbols[0], text) for call in calls]
    return answer


def _symbol(
    task: Task, calls: Sequence[tuple[PythonCall, int]], rows: SymbolRows, wanted: Places, answer: Answer
) -> dict[Call, Column]:
    found = {call.call: np.full(len(wanted), np.nan) for call, _ in calls}
    passes: dict[tuple[int, bool], list[PythonCall]] = {}
    for call, window in calls:
        passes.setdefault((window, task.once(call)), []).append(call)
    for (window, once), group in passes.items():
        for number, place in [(slice(None), task.first)] if once else list(enumerate(wanted)):
            low, high = np.searchsorted(rows.places, [place - window + 1, place + 1])
            high = len(rows.places) if once else high
            helpers: dict[str, pd.Series] | None = {} if task.helpers and once else None
            columns, failed = apply(numbered(rows.frame.iloc[low:high]), group, rows.symbol, helpers)
            answer.failures += failed
            for name, column in columns.items():
                found[name][number] = column[len(column) - len(wanted) :] if once else column[-1]
            for helper, values in (helpers or {}).items():
                answer.helpers[helper] = values.iloc[len(values) - len(wanted) :]
    return found
