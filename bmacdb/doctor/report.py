"""The live probe's report: Markdown to be pasted anywhere. It holds no address, secret or path of a user. Pure."""

from __future__ import annotations

import platform
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC

from bmacdb import __version__
from bmacdb.clock import format_ms
from bmacdb.doctor.live import AGES_S, Close, Findings
from bmacdb.interval import MINUTE_MS
from bmacdb.model import Candle

__all__ = ["clean", "report"]

_ACTIVITY = (
    (0, 0, "none"),
    (1, 9, "1 to 9"),
    (10, 99, "10 to 99"),
    (100, 999, "100 to 999"),
    (1000, None, "1000 and more"),
)
_ADDRESSES = re.compile(
    r"\w+://\S+|\bhost \S+|\b\d{1,3}(?:\.\d{1,3}){3}\b(?::\d+)?|\b(?:[0-9a-f]{1,4}:){3,}[0-9a-f:]*[0-9a-f]{1,4}\b"
    r"|\[[0-9a-f]*:[0-9a-f:.%]*\](?::\d+)?|\('[^']*', \d+\)|(?:[A-Za-z]:\\|/(?:home|root|Users)/)\S*",
    re.IGNORECASE,
)


def clean(text: str, secrets: Iterable[str] = ()) -> str:
    """One line without addresses of any kind, and without `secrets` (hosts of settings, for instance)."""
    for secret in secrets:
        text = text.replace(secret, "…")
    return _ADDRESSES.sub("…", " ".join(text.split())).replace("|", "/").replace("`", "'")


def report(found: Sequence[Findings], *, secrets: Iterable[str] = ()) -> str:
    """The whole report, of whatever was found until now."""
    system = f"{platform.system()}, Python {platform.python_version()}"
    lines = [f"# bmacdb {__version__}: live probe", "", f"{system}. Times are of the exchange's clock."]
    for one in found:
        lines += ["", f"## {one.market}", "", *_market(one, [secret for secret in secrets if secret])]
    return "\n".join(lines)


def _market(found: Findings, secrets: Sequence[str]) -> list[str]:
    lines = [f"- {_clock(found)}", *(f"- {text}" for text in _statuses(found)), f"- {_boundaries(found)}"]
    if found.empty_funding is not None:
        lines.append(f"- Empty funding: `{clean(found.empty_funding, secrets)}`")
    lines += [f"- {question}: could not be asked: {clean(why, secrets)}" for question, why in found.not_asked.items()]
    paths = [
        (f"`{path or 'as set'}`", one.frames, one.connects, clean(one.trouble, secrets) or "none")
        for path, one in found.paths.items()
    ]
    lines += _table("Websocket paths", ("path", "kline frames", "connects", "trouble"), paths)
    lines += _table("Closing frames: ms from the close to the arrival", _DELAY_HEAD, _delays(found.closes))
    lines += _table("Closing frames that came, of those expected", ("contract type", "came", "expected"), _came(found))
    lines += _missing(found)
    head = ("age", "bars", "not there yet", "not final", "worst lack of volume")
    lines += _table(f"REST bars against the same at +{AGES_S[-1]} s", head, _rest(found))
    weights = [
        (what, one.reckoned, min(one.measured, default="?"), max(one.measured, default="?"), len(one.measured))
        for what, one in found.weights.items()
    ]
    lines += _table(
        "Weight of a request (more where another program asks from the same address)",
        ("request", "reckoned", "least", "most", "measured"),
        weights,
    )
    return lines


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    shown = [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]
    if not shown:
        return ["", f"{title}: could not be measured."]
    return ["", f"{title}:", "", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *shown]


def _clock(found: Findings) -> str:
    if found.skew_ms is None:
        return "Clock: not known"
    direction = "ahead of" if found.skew_ms > 0 else "behind"
    offset = f"{abs(found.skew_ms):.0f} ms {direction} the exchange"
    return f"Clock: this machine is {offset}, give or take {found.uncertainty_ms:.0f} ms"


def _statuses(found: Findings) -> list[str]:
    kinds = sorted({kind for kind, _ in found.statuses})
    return [
        f"Status words of {kind}: "
        + ", ".join(f"{status} {count}" for (one, status), count in sorted(found.statuses.items()) if one == kind)
        for kind in kinds
    ]


def _boundaries(found: Findings) -> str:
    if not found.boundaries:
        return "No close was seen"
    first, last = (format_ms(ms, UTC) for ms in (found.boundaries[0], found.boundaries[-1]))
    return f"{len(found.boundaries)} closes, from {first} to {last}"


_DELAY_HEAD = ("trades in the bar", "frames", "p50", "p99", "worst")


def _delays(closes: Sequence[Close]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    groups = [
        (
            name,
            [
                one.delay_ms
                for one in closes
                if one.candle.trade_num >= least and (most is None or one.candle.trade_num <= most)
            ],
        )
        for least, most, name in _ACTIVITY
    ]
    for name, delays in [*groups, ("all", [one.delay_ms for one in closes])]:
        if delays:
            order = sorted(delays)
            p50, p99 = (order[min(int(len(order) * share), len(order) - 1)] for share in (0.5, 0.99))
            rows.append((name, len(order), f"{p50:.0f}", f"{p99:.0f}", f"{order[-1]:.0f}"))
    return rows


def _came(found: Findings) -> list[tuple[object, ...]]:
    watched = set(found.boundaries)
    distinct = {(one.candle.symbol, one.candle.open_time_ms) for one in found.closes}
    came = Counter(found.streams.get(symbol, "?") for symbol, opened_ms in distinct if opened_ms + MINUTE_MS in watched)
    streams = Counter(found.streams.values())
    return [(kind, came[kind], count * len(watched)) for kind, count in streams.items() if watched]


def _missing(found: Findings) -> list[str]:
    empty = sum(one.candle.trade_num == 0 for one in found.closes)
    lines = ["", f"Closing frames of bars without trades: {empty}."]
    if found.missing_trades:
        without = found.missing_trades.count(0)
        lines.append(f"Of {len(found.missing_trades)} bars whose frame did not come, {without} have no trades at REST.")
    return lines


def _rest(found: Findings) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for age_s in AGES_S[:-1]:
        pairs = [
            (ages[age_s], final) for ages in found.rest.values() if (final := ages.get(AGES_S[-1])) and age_s in ages
        ]
        there = [(bar, final) for bar, final in pairs if bar is not None]
        lacks = [1 - bar.volume / final.volume for bar, final in there if final.volume]
        changed = sum(_values(bar) != _values(final) for bar, final in there)
        if pairs:
            worst = f"{100 * max(lacks, default=0.0):.2f} %"
            rows.append((f"+{age_s} s", len(pairs), len(pairs) - len(there), changed, worst))
    return rows


def _values(candle: Candle) -> tuple[float, ...]:
    return (candle.open, candle.high, candle.low, candle.close, candle.volume, candle.quote_volume, candle.trade_num)
