"""What the suite measures, as values: samples of one work done in several ways, and the tables made of them.

A Row is one work: bmacdb's samples beside those of the other ways, taken in turns in one run, and what the machine
would allow at best, in the same unit. Ratios are of medians and say how many times
better bmacdb is; below 1 it is worse.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

__all__ = ["Row", "alternate", "as_json", "from_json", "markdown", "millis"]


@dataclass(frozen=True, slots=True)
class Row:
    """`work` of `part` in `unit`; `limit` is (what, how much of the unit the machine allows at best)."""

    part: str
    work: str
    unit: str
    ours: tuple[float, ...]
    others: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    more_is_better: bool = False
    limit: tuple[str, float] | None = None
    note: str = ""

    def ratio(self, way: str) -> float:
        """How many times better than `way` bmacdb is."""
        here, there = median(self.ours), median(self.others[way])
        return here / there if self.more_is_better else there / here

    def multiple(self) -> float | None:
        """How many times worse than the machine's limit bmacdb is."""
        if self.limit is None:
            return None
        here, best = median(self.ours), self.limit[1]
        return best / here if self.more_is_better else here / best


def millis(work: Callable[[], object]) -> float:
    """Milliseconds that `work` takes."""
    before = time.perf_counter()
    work()
    return (time.perf_counter() - before) * 1000


def alternate(
    ways: Mapping[str, Callable[[], object]], rounds: int, few: Sequence[str] = ()
) -> dict[str, tuple[float, ...]]:
    """Milliseconds of each way, in turns, after one round that does not count; those of `few` three times at most."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, work in ways.items():
            if name in few and number > 3:
                continue
            took = millis(work)
            if number:
                found[name].append(took)
    return {name: tuple(values) for name, values in found.items()}


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Tenth percentile, median, ninetieth percentile (nearest ranks)."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return ordered[round(0.1 * last)], median(ordered), ordered[round(0.9 * last)]


def as_json(row: Row) -> dict[str, Any]:
    """The row with everything derived from it, for a file."""

    def samples(values: Sequence[float]) -> dict[str, Any]:
        low, middle, high = spread(values)
        return {"median": middle, "p10": low, "p90": high, "samples": [round(value, 6) for value in values]}

    return {
        "part": row.part,
        "work": row.work,
        "unit": row.unit,
        "more_is_better": row.more_is_better,
        "bmacdb": samples(row.ours),
        "others": {name: samples(values) | {"ratio": row.ratio(name)} for name, values in row.others.items()},
        "limit": row.limit and {"what": row.limit[0], "value": row.limit[1], "multiple": row.multiple()},
        "note": row.note,
    }


def from_json(found: Mapping[str, Any]) -> Row:
    """The row that `as_json` made this of."""
    limit = found["limit"]
    return Row(
        found["part"],
        found["work"],
        found["unit"],
        tuple(found["bmacdb"]["samples"]),
        {name: tuple(way["samples"]) for name, way in found["others"].items()},
        found["more_is_better"],
        limit and (limit["what"], limit["value"]),
        found["note"],
    )


def plain(value: float) -> str:
    """Three digits that count, thousands apart."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.3g}"


def told(values: Sequence[float]) -> str:
    low, middle, high = spread(values)
    return plain(middle) if len(values) == 1 else f"{plain(middle)} ({plain(low)}–{plain(high)})"


def markdown(rows: Sequence[Row]) -> str:
    """A table for each part: median (p10–p90) of each way, ratios, and the multiple of the machine's limit."""
    lines: list[str] = []
    part = ""
    for row in rows:
        if row.part != part:
            part = row.part
            lines += [
                "",
                f"### {part}",
                "",
                "| work | bmacdb | beside | ratio | of the limit |",
                "|---|---|---|---|---|",
            ]
        beside = "; ".join(f"{name} {told(values)}" for name, values in row.others.items()) or "–"
        ratios = "; ".join(f"{plain(row.ratio(name))}×" for name in row.others) or "–"
        multiple = row.multiple()
        limit = "–" if row.limit is None or multiple is None else f"{plain(multiple)} × {row.limit[0]}"
        note = f" ({row.note})" if row.note else ""
        lines.append(f"| {row.work}{note} | {told(row.ours)} {row.unit} | {beside} | {ratios} | {limit} |")
    return "\n".join(lines).strip() + "\n"
