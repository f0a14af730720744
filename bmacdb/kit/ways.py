"""Python factors: all symbols at once where that is proved equal, else symbol by symbol.

A factor is first computed both ways for some windows; when each value and each null is the same to the last bit, all
windows with equally many rows are computed at once. Later a window of each batch is compared again, another one each
time. A factor that raises or differs goes symbol by symbol from then on, and so does a window that few others are like.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain, pairwise
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bmacdb.factors.call import Call, parse_call, spell
from bmacdb.factors.columns import CANDLE_COLUMNS
from bmacdb.factors.module import PythonCall, PythonFactor
from bmacdb.kit import wide
from bmacdb.kit.modules import apply, floats, signal
from bmacdb.kit.passes import Answer, Piece, Task
from bmacdb.kit.rows import Places, Rows, SymbolRows
from bmacdb.kit.second import again
from bmacdb.kit.workers import Workers

__all__ = ["Way", "compute", "tried", "way_of"]

logger = logging.getLogger("bmacdb.kit")

Table = npt.NDArray[np.float64]

_LEAST = 8
"""Windows from which on it is worth while: fewer are computed as soon one by one."""

_CELLS = 1_000_000
"""Bars times windows that are computed at once: 8 MB a column."""

_FIRST, _LATER = 5, 1
"""Windows that are compared: when a factor is first used, and in each batch afterwards."""


@dataclass(slots=True)
class Way:
    """How a factor is computed. `apart`: why it goes symbol by symbol, "" if it does not; `compared`: windows so far.

    `module` is the factor's, loaded once more for columns of all symbols; `of` is the function that it stands for.
    """

    of: object
    module: ModuleType | None
    apart: str
    compared: int = 0

    def __str__(self) -> str:
        if self.apart:
            return f"symbol by symbol: {self.apart}"
        return "all symbols at once" if self.compared else "not tried yet"


_WAYS: dict[tuple[str, str], Way] = {}
_LOCK = threading.RLock()


def way_of(call: PythonCall) -> Way:
    """What is known of a factor in this process; anew when its module was loaded again."""
    module = call.factor.module
    function = getattr(module, "signal_multi_params", None) or getattr(module, "signal", None)
    with _LOCK:
        way = _WAYS.get(key := (module.__name__, spell(call.call)))
        if way is None or way.of is not function:
            known = (other for (name, _), other in _WAYS.items() if name == key[0] and other.of is function)
            second = next((other.module for other in known if other.module is not None), None)
            try:
                way = Way(function, second or again(module), "")
            except Exception as exc:  # a module of the user's may raise anything
                way = Way(function, None, _reason(exc))
            _WAYS[key] = way
    return way


def _reason(exc: Exception) -> str:
    return f"{type(exc).__name__}: {exc}".splitlines()[0]


def compute(workers: Workers, task: Task, read: Callable[[], Iterator[Rows]], symbols: int) -> Answer:
    """The values of the task, of about so many symbols; `read` gives their rows, some symbols at a time.

    Raises whatever reading raises.
    """
    whole, used = Answer(), set[Call]()
    runs = len(task.opens) - task.first if task.exact else 1
    parts = (_part(task, rows, whole, used) for rows in _ahead(read()))
    begun = next(parts, [])
    calls = sum(len(piece.calls) * len(piece.rows.symbols) for piece in begun)
    cost = calls * runs * symbols / max(len(whole.places), 1)
    pieces = chain(begun, chain.from_iterable(parts))
    for answer in workers.run(task, pieces, cost, symbols):
        for call, columns in answer.values.items():
            for symbol, column in columns.items():
                places = whole.places[symbol]
                whole.values[call][symbol][np.searchsorted(places, answer.places[symbol])] = column
        whole.failures += answer.failures
        whole.helpers |= answer.helpers
    doubted = tuple((call, window) for call, window in task.calls if call.call in used and way_of(call).apart)
    if doubted:  # a later batch differed: what was taken from the earlier ones is computed again
        other = compute(workers, replace(task, calls=doubted), read, symbols)
        whole.values |= other.values
        whole.failures += other.failures
    return whole


def _ahead(parts: Iterator[Rows]) -> Iterator[Rows]:
    """The same, each read while the one before is computed."""
    with ThreadPoolExecutor(1, "bmacdb-reading") as pool:
        coming = pool.submit(next, parts, None)
        while (rows := coming.result()) is not None:
            coming = pool.submit(next, parts, None)
            yield rows


def _part(task: Task, rows: Rows, whole: Answer, used: set[Call]) -> list[Piece]:
    """Computes what can be computed at once into `whole`, and returns the rest."""
    wanted = [rows.places[rows.span(number)] for number in range(len(rows.symbols))]
    wanted = [places[places >= task.first] for places in wanted]
    if not all(map(len, wanted)):  # a symbol without a row in the range is left out
        numbers = [number for number, places in enumerate(wanted) if len(places)]
        rows, wanted = rows.of(numbers), [wanted[number] for number in numbers]
    sizes = [len(places) for places in wanted]
    offsets = np.cumsum([0, *sizes])
    flat = {call.call: np.full(offsets[-1], np.nan) for call, _ in task.calls}
    whole.longest = max(whole.longest, *np.diff(rows.bounds, prepend=0), 0)
    for number, symbol in enumerate(rows.symbols):
        whole.places[symbol] = wanted[number]
        for name, column in flat.items():
            whole.values.setdefault(name, {})[symbol] = column[offsets[number] : offsets[number + 1]]
    groups: dict[tuple[int, bool], list[int]] = {}
    for place, (python, window) in enumerate(task.calls):
        groups.setdefault((window, task.once(python)), []).append(place)
    pieces = []
    for (window, once), numbers in groups.items():
        calls = [task.calls[number][0] for number in numbers]
        windows = _windows(task, rows, offsets, window, once)
        done = _together(task, rows, windows, calls, flat) if windows else set()
        used |= {calls[number].call for number in done}
        apart = tuple(place for number, place in enumerate(numbers) if number not in done)
        if apart:
            pieces.append(Piece(rows, tuple(wanted), apart))
        if done and (rest := _rest(windows, wanted, offsets)):
            left = tuple(place for number, place in enumerate(numbers) if number in done)
            pieces.append(Piece(rows.of(list(rest)), tuple(rest.values()), left))
    return pieces


@dataclass(frozen=True, slots=True)
class _Windows:
    """Stretches of `length` rows: the row where each ends, and where its last values go (windows × values)."""

    length: int
    ends: Places
    targets: Places


def _windows(task: Task, rows: Rows, offsets: Places, window: int, once: bool) -> list[_Windows]:
    """The rows that each result looks back at, those with equally many together.

    Bars that are missing in all symbols alike, as when the exchange stood still, change nothing: a module is given the
    rows that are there, and times are not to be had for all symbols at once.
    """
    stops, sizes = np.array(rows.bounds, dtype=np.int64), np.diff(offsets)
    owners, total = np.arange(len(stops)), len(task.opens)
    keys = np.repeat(owners, np.diff(stops, prepend=0)) * total + rows.places
    if once:
        asked = total - task.first
        ends, targets = stops - 1, offsets[1:, None] - np.arange(asked, 0, -1)
        lows, good = np.full(len(stops), task.first - window + 1), sizes == asked
    else:
        targets = np.arange(offsets[-1])[:, None]
        ends = np.repeat(stops - sizes - offsets[:-1], sizes) + targets[:, 0]
        owners = np.repeat(owners, sizes)
        lows, good = rows.places[ends] - window + 1, np.ones(len(ends), dtype=bool)
    lengths = ends - np.searchsorted(keys, owners * total + np.maximum(lows, 0)) + 1
    alike = zip(*np.unique(lengths[good], return_counts=True), strict=True)
    chosen = [(int(length), good & (lengths == length)) for length, count in alike if count >= _LEAST]
    return [_Windows(length, ends[mask], targets[mask]) for length, mask in chosen]


def _rest(windows: Sequence[_Windows], wanted: Sequence[Places], offsets: Places) -> dict[int, Places]:
    """The places that no window covers, by the number of the symbol."""
    missing = np.ones(offsets[-1], dtype=bool)
    for some in windows:
        missing[some.targets.ravel()] = False
    masks = [missing[low:high] for low, high in pairwise(offsets)]
    return {number: wanted[number][mask] for number, mask in enumerate(masks) if mask.any()}


def _together(
    task: Task, rows: Rows, windows: Sequence[_Windows], calls: Sequence[PythonCall], flat: dict[Call, Table]
) -> set[int]:
    """Computes the calls over all windows, some at a time, into `flat`. Returns those that it could."""
    done = set(range(len(calls)))
    for batch in chain.from_iterable(map(_batches, windows)):
        load = _loader(rows, batch)

        @cache
        def alone(place: int, batch: _Windows = batch) -> SymbolRows:
            return next(rows.window(int(batch.ends[place]), batch.length).frames(task.opens))

        for group in _by_module(calls, done):
            found = _columns(load, rows, batch, [calls[number] for number in group])
            for number, column in zip(group, found, strict=True):
                call = calls[number]
                if column is not None and _confirmed(alone, call, column):
                    taken = column[-batch.targets.shape[1] :].T
                    flat[call.call][batch.targets] = np.where(np.isfinite(taken), taken, np.nan)
                else:
                    done.discard(number)
    for number in range(len(calls)):
        if number not in done:
            for some in windows:
                flat[calls[number].call][some.targets] = np.nan
    return done


def _batches(windows: _Windows) -> Iterator[_Windows]:
    most = max(_CELLS // windows.length, _LEAST)
    for low in range(0, len(windows.ends), most):
        yield _Windows(windows.length, windows.ends[low : low + most], windows.targets[low : low + most])


def _by_module(calls: Sequence[PythonCall], done: set[int]) -> list[list[int]]:
    """The calls that are not apart; those of a module with signal_multi_params in one list."""
    groups: dict[object, list[int]] = {}
    for number in sorted(done):
        module = calls[number].factor.module
        if way_of(calls[number]).apart:
            done.discard(number)
        else:
            groups.setdefault(module.__name__ if hasattr(module, "signal_multi_params") else number, []).append(number)
    return list(groups.values())


def _loader(rows: Rows, batch: _Windows) -> Callable[[str], wide.Column]:
    """Gives a column of the record, of all windows of the batch."""
    length, ends = batch.length, batch.ends
    index, columns = pd.RangeIndex(length), pd.RangeIndex(len(ends))
    made: dict[str, wide.Column] = {}

    def load(name: str) -> wide.Column:
        if name not in made:
            if name not in rows.names:
                raise wide.NotAlike(f"{name} of all symbols at once")
            values = rows.block[rows.names.index(name)]
            if (np.diff(ends) == length).all():  # they lie side by side
                table = values[ends[0] - length + 1 : ends[-1] + 1].reshape(len(ends), length)
            else:
                table = np.lib.stride_tricks.sliding_window_view(values, length)[ends - length + 1]
            made[name] = wide.Column(pd.DataFrame(table.T, index=index, columns=columns, copy=False))
        return made[name]

    return load


def _columns(
    load: Callable[[str], wide.Column], rows: Rows, batch: _Windows, calls: Sequence[PythonCall]
) -> list[Table | None]:
    """The columns (bars × windows) of the calls of one module, or none when it raises: then it goes apart."""
    frame = wide.Frame(batch.length, ["candle_begin_time", "symbol", *rows.names], load)
    module = way_of(calls[0]).module
    assert module is not None
    try:
        with np.errstate(all="ignore"):
            if hasattr(module, "signal_multi_params"):
                given: list[Any] = [call.param for call in calls]
                results = {str(key): value for key, value in module.signal_multi_params(frame, given).items()}
                found = [results[str(param)] for param in given]
            else:
                found = [signal(frame, call, module)[call.call.column] for call in calls]
            return [_floats(column, batch) for column in found]
    except Exception as exc:  # whatever a module does with what it does not know
        for call in calls:
            _go_apart(call, _reason(exc))
        return [None] * len(calls)


def _floats(column: object, batch: _Windows) -> Table:
    if not isinstance(column, wide.Values):
        raise wide.NotAlike(f"a result that is a {type(column).__name__}")
    table: Table = column.frame.to_numpy().astype(np.float64, copy=False)
    if table.shape != (batch.length, len(batch.ends)):
        raise wide.NotAlike("a result of another shape")
    return table


def _confirmed(alone: Callable[[int], SymbolRows], call: PythonCall, column: Table) -> bool:
    """Whether some windows give the same one by one; else the call goes apart."""
    way = way_of(call)
    count = column.shape[1]
    if way.compared:
        chosen = [(way.compared * 7919 + number) % count for number in range(_LATER)]
    else:
        chosen = sorted({round(place) for place in np.linspace(0, count - 1, _FIRST)})
    for place in chosen:
        rows = alone(place)
        symbol = rows.symbol
        found, failed = apply(rows.frame, [call], symbol)
        if failed:
            _go_apart(call, f"it fails at {symbol} alone")
            return False
        here, there = floats(pd.Series(column[:, place])), found[call.call]
        same = (here.view(np.int64) == there.view(np.int64)) | (np.isnan(here) & np.isnan(there))
        if not same.all():
            row = int(np.argmin(same))
            _go_apart(
                call, f"at {symbol} it gives {float(there[row])!r}, and {float(here[row])!r} for all symbols at once"
            )
            return False
    way.compared += len(chosen)
    return True


def _go_apart(call: PythonCall, why: str) -> None:
    way = way_of(call)
    way.apart = why
    level = logging.WARNING if way.compared else logging.DEBUG
    logger.log(level, "factor %s is computed symbol by symbol: %s", spell(call.call), why)


def tried(factor: PythonFactor) -> str:
    """The way of a factor, found by trying it on made-up candles with usual parameters."""
    bars, symbols = 300, _LEAST
    draw = np.random.default_rng(1)
    close = 50 * np.exp(np.cumsum(draw.normal(0, 0.004, bars * symbols)))
    names = (*CANDLE_COLUMNS, *(["fundingRate"] if factor.funding else []))
    block = draw.random((len(names), bars * symbols)) * 1000
    block[:4] = close * (1 + np.array([[0.0], [0.002], [-0.002], [0.001]]) * draw.random(bars * symbols))
    rows = Rows(
        tuple(f"{number}USDT" for number in range(symbols)),
        tuple(bars * (number + 1) for number in range(symbols)),
        np.tile(np.arange(bars), symbols),
        block,
        names,
    )
    told = ""
    for given in (20, (5, 20, 10), "5,20", None):
        call = factor.bind(parse_call((factor.name, given) if given is not None else factor.name))
        task = Task(np.arange(bars) * 3_600_000, bars - 1, ((call, bars),), False)
        answer = compute(Workers(1), task, lambda: iter([rows]), symbols)
        if not answer.failures:
            return str(way_of(call))
        told = told or answer.failures[0].traceback.rstrip().splitlines()[-1]
    return f"fails on made-up candles: {told}"
