"""The fault matrix: every fault befalls a recorder over the stand-in exchange, and its file is held against it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bmacdb.interval import MINUTE_MS
from bmacdb.simulated import SimulatedExchange, parse_fault
from bmacdb.simulated.faults import Event, Mishap
from tests.acceptance.support import Recorder, agrees, query

from .cells import CELLS, Cell
from .ledger import Ledger, Recorded, changed_after_ready, hold, untruths

__all__ = ["Line", "play", "run_matrix", "table"]

PATIENCE_S = 90.0
"""Real seconds for a condition to come about."""

_CONNECTS = 150
"""In five minutes, for the eight listeners of a feed; the exchange allows an address 300, and bans."""

_START_MS = 1_795_453_200_000  # a boundary


@dataclass(frozen=True, slots=True)
class Line:
    """What became of one cell; `complaints` is empty when all is well."""

    cell: Cell
    seed: int
    ledger: Ledger | None
    recorded: Recorded | None
    whole_s: float
    most_weight: int
    complaints: tuple[str, ...]


async def play(cell: Cell, directory: Path, *, seed: int, speed: float) -> Line:
    """Let one fault befall a recorder in `directory`."""
    try:
        async with asyncio.timeout(PATIENCE_S + 10 * (cell.seconds + cell.after + 120) * cell.slower / speed):
            return await _play(cell, directory, seed=seed, speed=speed / cell.slower)
    except (AssertionError, TimeoutError) as error:
        text = "it never got whole" if isinstance(error, TimeoutError) else str(error)
        return Line(cell, seed, None, None, float("nan"), 0, (text,))


async def _play(cell: Cell, directory: Path, *, seed: int, speed: float) -> Line:
    start_ms = _START_MS if cell.on_boundary else _START_MS + (seed * 7919) % MINUTE_MS
    exchange = SimulatedExchange(
        symbols=cell.symbols, speed=speed, seed=seed, start_ms=start_ms, weight_limit=cell.weight_limit
    )
    for fault in cell.before:
        exchange.inject(parse_fault(fault, now_ms=exchange.clock.now_ms()))
    arguments = ["--feed", cell.feed, "--num-candles", str(cell.num_candles), *cell.arguments]
    async with exchange, Recorder(exchange, directory, arguments, cell.phase) as recorder:
        await recorder.until("run_complete")
        from_ms = exchange.clock.now_ms()
        for text in cell.faults:
            fault = parse_fault(text, now_ms=from_ms)
            mishap = isinstance(fault, Mishap)
            exchange.inject(parse_fault(f"{text},for={cell.seconds}", now_ms=from_ms) if mishap else fault)
            assert mishap or isinstance(fault, Event)
        await exchange.clock.sleep(cell.seconds)
        until_ms = exchange.clock.now_ms()
        await exchange.clock.sleep(cell.after)
        await recorder.until("run_complete", len(recorder.told("run_complete")) + 2)
        await recorder.until_whole()
        await _until_history_done(recorder)
        status = await recorder.stop()
        assert status == 0, recorder.story()
        return _judge(cell, exchange, recorder, seed=seed, speed=speed, until_ms=until_ms)


async def _until_history_done(recorder: Recorder) -> None:
    """What was missed around the start is fetched page by page, through whatever goes wrong meanwhile."""
    while sum(event["missing"] != 0 for event in recorder.told("history_planned")) > len(recorder.told("history_done")):
        assert recorder.process is not None
        assert recorder.process.returncode is None, recorder.story()
        await asyncio.sleep(0.05)


def _judge(
    cell: Cell, exchange: SimulatedExchange, recorder: Recorder, *, seed: int, speed: float, until_ms: int
) -> Line:
    path = recorder.database
    ledger = hold(exchange, path, cell.feed, num_candles=cell.num_candles)
    recorded = Recorded.of(path, cell.feed, until_ms=until_ms)
    complaints = _believed(exchange, path, cell.feed, ledger) if cell.believed else _equal(exchange, path, cell, ledger)
    # A stall of the machine by a third of a second is `speed` times as long for the exchange.
    complaints += untruths(path, cell.feed, slack_ms=round(1000 + 350 * speed))
    if not any(fault.startswith("wrong") for fault in cell.faults):
        complaints += changed_after_ready(path, cell.feed)
    complaints += _states(cell, recorder)
    if cell.must_strike and not exchange.stats.faults:
        complaints.append("the fault never struck")
    if cell.lost:
        ((repaired,),) = query(path, f"SELECT coalesce(sum(repaired), 0)::BIGINT FROM {cell.feed}.runs")
        if int(str(repaired)) < (struck := exchange.stats.faults["lost"]) - cell.symbols:  # the last may be to come
            complaints.append(f"{struck} frames were lost, and runs tell of {repaired} repairs")
    weight = exchange.summary()["weight"]["spot" if "spot" in cell.feed else "futures"]  # type: ignore[index]
    if weight["most_a_minute"] > weight["limit"]:
        complaints.append(f"weight {weight['most_a_minute']} of {weight['limit']}")
    if exchange.summary()["most_connects"] > _CONNECTS:  # type: ignore[operator]
        complaints.append(f"{exchange.summary()['most_connects']} connections in five minutes")
    whole_s = max(recorded.whole_ms - until_ms, 0) / 1000
    if complaints:
        complaints.append(recorder.story())
    return Line(cell, seed, ledger, recorded, whole_s, weight["most_a_minute"], tuple(complaints))


def _states(cell: Cell, recorder: Recorder) -> list[str]:
    runs = query(recorder.database, f"SELECT expected, state FROM {cell.feed}.runs ORDER BY run_time")
    halted = sum(state == "halted" for _, state in runs)
    told = [event for event in recorder.told("notice") if event["topic"] == "halt"]
    found = []
    if cell.steady and {expected for expected, _ in runs} != {cell.symbols}:
        found.append(f"runs expect {[expected for expected, _ in runs]} of {cell.symbols} symbols")
    if bool(halted) != cell.halted:
        found.append(f"{halted} runs are halted")
    if cell.halted and [event["severity"] for event in told] != ["error", "info"]:
        found.append(f"of the halt was told: {told}")
    return found


def _equal(exchange: SimulatedExchange, path: Path, cell: Cell, ledger: Ledger) -> list[str]:
    complaints = [] if ledger.clean else [str(ledger)]
    try:
        agrees(exchange, path, cell.feed, num_candles=cell.num_candles)
    except AssertionError as error:
        complaints.append(str(error).splitlines()[0])
    return complaints


def _believed(exchange: SimulatedExchange, path: Path, feed: str, ledger: Ledger) -> list[str]:
    """Every wrong frame stands as the stream told it, or REST was asked as well: then both are in `corrections`."""
    struck = exchange.stats.faults["wrong"]
    ((corrected,),) = query(path, f"SELECT count(DISTINCT (symbol, open_time)) FROM {feed}.corrections")
    if ledger.lost or ledger.duplicated or ledger.sources - {"ws"} or ledger.wrong + int(str(corrected)) != struck:
        return [f"{ledger}; {struck} frames were wrong, {corrected} of them were corrected"]
    return []


async def run_matrix(
    *, seed: int, speed: float, together: int, only: str = "", told: Callable[[Line], None] = lambda _: None
) -> list[Line]:
    """Play every cell whose name has `only` in it, so many at a time; `told` hears of each as it ends."""
    room = asyncio.Semaphore(together)

    async def one(cell: Cell) -> Line:
        async with room:
            with tempfile.TemporaryDirectory(prefix="bmacdb-matrix-") as directory:
                line = await play(cell, Path(directory), seed=seed, speed=speed)
            told(line)
            return line

    async with asyncio.TaskGroup() as tasks:
        playing = [tasks.create_task(one(cell)) for cell in CELLS if only in cell.name]
    return [task.result() for task in playing]


_HEADINGS = ("fault", "periods", "rows", "lost", "doubled", "wrong", "late", "slowest s", "whole after s", "weight", "")


def table(lines: Sequence[Line]) -> str:
    """The matrix as text. `late`: symbols named at a deadline; `slowest`: the longest that a period took; `whole
    after`: from the end of the fault to the last row that was owed then; `weight`: the fullest minute."""
    rows = [_HEADINGS]
    for line in lines:
        name, state = line.cell.name, "FAILED" if line.complaints else "ok"
        if line.ledger is None or line.recorded is None:
            rows.append((name, *["?"] * (len(_HEADINGS) - 2), state))
            continue
        ledger, recorded = line.ledger, line.recorded
        counts = (recorded.runs, ledger.expected, ledger.lost, ledger.duplicated, ledger.wrong, recorded.late)
        limit = f"{line.most_weight}/{line.cell.weight_limit or 6000}"
        seconds = (f"{recorded.slowest_ms / 1000:.1f}", f"{line.whole_s:.1f}")
        rows.append((name, *map(str, counts), *seconds, limit, state))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in (0, len(widths) - 1) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
