"""A recorded file held against the exchange: row by row, and whether its `runs` tell what was late."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from bmacdb.recorder.runs import REPAIR_DEADLINE_MS
from bmacdb.simulated import SimulatedExchange
from bmacdb.symbols import parse_feed
from tests.acceptance.support import query

__all__ = ["Ledger", "Recorded", "changed_after_ready", "hold", "untruths", "unvouched"]

_COLUMNS = (
    "open, high, low, close, volume, quote_volume, trade_num, taker_buy_base_asset_volume, taker_buy_quote_asset_volume"
)


@dataclass(frozen=True, slots=True)
class Ledger:
    """How many rows there should be, and how many are not there, there twice, or have other values.

    A row that the exchange never made counts as wrong. `sources` says where the wrong ones come from.
    """

    expected: int
    lost: int
    duplicated: int
    wrong: int
    sources: frozenset[str] = frozenset()

    @property
    def clean(self) -> bool:
        return not (self.lost or self.duplicated or self.wrong)


def hold(exchange: SimulatedExchange, path: Path, name: str, *, num_candles: int) -> Ledger:
    """Count what `tests.acceptance.support.agrees` asserts, over the same rows."""
    feed = parse_feed(name)
    ((first_ms, last_ms),) = query(
        path,
        f"SELECT epoch_ms(min(run_time)), epoch_ms(max(run_time) FILTER (complete_at IS NOT NULL)) FROM {name}.runs",
    )
    assert isinstance(first_ms, int)
    assert isinstance(last_ms, int)
    rows = query(path, f"SELECT symbol, epoch_ms(open_time), source, {_COLUMNS} FROM {name}.candles")
    mine: dict[object, dict[object, tuple[object, ...]]] = {}
    source_of: dict[tuple[object, object], str] = {}
    duplicated = 0
    for symbol, open_ms, source, *values in rows:
        bars = mine.setdefault(symbol, {})
        duplicated += open_ms in bars
        bars[open_ms] = tuple(values)
        source_of[symbol, open_ms] = str(source)
    window_ms = feed.interval.shift(first_ms, -num_candles)
    expected = lost = 0
    wrong: list[str] = []
    for symbol, bars in mine.items():
        start_ms = min(window_ms, *bars)  # type: ignore[call-overload]
        end_ms = max(last_ms, max(bars) + 1)  # type: ignore[call-overload, operator]
        theirs = {
            bar.open_time_ms: tuple(getattr(bar, column) for column in _COLUMNS.split(", "))
            for bar in exchange.expected(feed.market, str(symbol), feed.interval.name, start_ms, end_ms)
        }
        expected += len(theirs)
        lost += len(theirs.keys() - bars.keys())
        for open_ms, values in bars.items():
            if theirs.get(open_ms) != values:  # type: ignore[call-overload]
                wrong.append(source_of[symbol, open_ms])
    return Ledger(expected, lost, duplicated, len(wrong), frozenset(wrong))


@dataclass(frozen=True, slots=True)
class Recorded:
    """When a recording was whole again, in milliseconds of the exchange."""

    runs: int
    late: int  # symbols named as missing at a deadline
    slowest_ms: int  # from a run time to its completion
    whole_ms: int  # when the last run up to an instant was complete and the last gap closed

    @classmethod
    def of(cls, path: Path, name: str, *, until_ms: int) -> Recorded:
        """As of the runs up to `until_ms`."""
        ((runs, late, slowest, whole),) = query(
            path,
            f"""SELECT count(*), sum(len(missing)), max(epoch_ms(complete_at) - epoch_ms(run_time)),
                       max(epoch_ms(complete_at)) FILTER (run_time <= make_timestamptz(? * 1000))
                FROM {name}.runs""",
            until_ms,
        )
        ((closed,),) = query(
            path,
            f"SELECT max(epoch_ms(closed_at)) FROM {name}.gaps WHERE state = 'filled' "
            "AND gap_start < make_timestamptz(? * 1000)",
            until_ms,
        )
        numbers = [value if isinstance(value, int) else int(str(value or 0)) for value in (runs, late, slowest)]
        return cls(*numbers, max(int(str(whole or 0)), int(str(closed or 0))))


def untruths(path: Path, name: str, *, slack_ms: int, named_early: bool = False) -> list[str]:
    """What `runs` and `run_status` say that is not so: every period, every symbol.

    An item that came past the deadline must be named in `missing`, and what is named must have come past it, or never;
    `named_early`: names from a process that died before the deadline are let through. `slack_ms` is what the recorder,
    on a busy machine and a fast clock, may be late to notice that a deadline passed.
    """
    items: dict[object, dict[str, tuple[int, str]]] = {}
    for run_time, item, after_ms, source in query(
        path,
        "SELECT run_time, item, epoch_ms(ready_at) - epoch_ms(run_time), source "
        f"FROM {name}.run_status WHERE item NOT IN ('exginfo', 'funding')",
    ):
        assert isinstance(after_ms, int)
        ready = items.setdefault(run_time, {})
        if str(item) in ready:
            return [f"{run_time}: {item} is ready twice"]
        ready[str(item)] = after_ms, str(source)
    found: list[str] = []
    runs: list[tuple[Any, ...]] = query(
        path,
        "SELECT run_time, expected, ready, epoch_ms(complete_at) - epoch_ms(run_time), repaired, missing "
        f"FROM {name}.runs ORDER BY run_time",
    )
    for run_time, expected, count, complete_ms, repaired, missing in runs:
        ready = items.pop(run_time, {})
        told = Counter(missing)
        late = {item for item, (after_ms, _) in ready.items() if after_ms >= REPAIR_DEADLINE_MS}
        early = (
            {item for item in missing if item in ready and ready[item][0] < REPAIR_DEADLINE_MS - slack_ms}
            if not named_early
            else set()
        )
        by_rest = sum(source != "ws" for _, source in ready.values())
        latest_ms = max((after_ms for after_ms, _ in ready.values()), default=0)
        if max(told.values(), default=0) > 1:
            found.append(f"{run_time}: names a symbol twice: {missing}")
        if late - told.keys():
            found.append(f"{run_time}: late and not named: {sorted(late - told.keys())}")
        if early:
            found.append(f"{run_time}: named and in time: {sorted((item, ready[item]) for item in early)}")
        settled = complete_ms is not None or missing  # else it was open when the recorder ended
        if settled and count != len(ready):
            found.append(f"{run_time}: says {count} ready, {len(ready)} are")
        if settled and (complete_ms is not None) != (count == expected):
            found.append(f"{run_time}: {count} of {expected} ready, complete after {complete_ms} ms")
        if complete_ms is not None and complete_ms < latest_ms:
            found.append(f"{run_time}: complete after {complete_ms} ms, its last item came after {latest_ms} ms")
        if settled and repaired != by_rest:
            found.append(f"{run_time}: says {repaired} repaired, {by_rest} came by REST")
    found += [f"{run_time}: items and no run" for run_time in items]
    return found + unvouched(path, name)


def changed_after_ready(path: Path, name: str) -> list[str]:
    """Bars that a run was ready by and that were corrected, and bars that nothing has confirmed; empty is well."""
    ((changed,),) = query(
        path,
        f"SELECT count(*) FROM {name}.corrections WHERE stands = 'later' AND recorded.source <> 'provisional'",
    )
    ((unconfirmed,),) = query(path, f"SELECT count(*) FROM {name}.candles WHERE source = 'provisional'")
    found = {"bars were changed that were believed": changed, "bars are provisional still": unconfirmed}
    return [f"{count} {what}" for what, count in found.items() if count]


def unvouched(path: Path, name: str, held: Collection[str] = ()) -> list[str]:
    """Readiness without its candle, keys that are there twice, and complete runs that lack an item; empty is well.

    `held` are run times, as ISO text, that were told as complete and must be in the file.
    """
    length = parse_feed(name).interval.length_ms
    checks = {
        "readiness without its candle": f"""SELECT count(*) FROM {name}.run_status s
            WHERE item NOT IN ('exginfo', 'funding') AND NOT EXISTS (FROM {name}.candles c
                WHERE c.symbol = s.item AND epoch_ms(c.open_time) = epoch_ms(s.run_time) - {length})""",
        "candles twice": f"SELECT count(*) - count(DISTINCT (symbol, open_time)) FROM {name}.candles",
        "items twice": f"SELECT count(*) - count(DISTINCT (run_time, item)) FROM {name}.run_status",
        "runs twice": f"SELECT count(*) - count(DISTINCT run_time) FROM {name}.runs",
        "gaps twice": f"SELECT count(*) - count(DISTINCT (symbol, gap_start)) FROM {name}.gaps",
        "rows of another grid": f"SELECT count(*) FROM {name}.candles WHERE epoch_ms(open_time) % {length} <> 0",
    }
    found = []
    with duckdb.connect(str(path), read_only=True) as connection:
        for what, sql in checks.items():
            (count,) = connection.execute(sql).fetchone() or (0,)
            if count:
                found.append(f"{count} {what}")
        complete = connection.execute(f"SELECT epoch_ms(run_time) FROM {name}.runs WHERE complete_at IS NOT NULL")
        there = {str(run_time) for (run_time,) in complete.fetchall()}
        if lost := set(held) - there:
            found.append(f"told as complete, and not in the file: {sorted(lost)}")
    return found
