"""A factor as one statement over a database: what `bmacdb factors --sql` prints, and the macros in a database.

    WITH bars AS (…), step1 AS (SELECT *, … FROM bars WINDOW …), …
    SELECT symbol, open_time, value FROM step2 WHERE …

`bars` has a row for every symbol of the range and every bar of it, the look-back included: a candle that is missing is
a row of nulls, and so are the bars before a listing.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from bmacdb.clock import from_ms
from bmacdb.factors.bind import Bound
from bmacdb.factors.columns import CANDLE_COLUMNS, FUNDING_COLUMNS, SETTLED_S
from bmacdb.factors.lay import Cte, lay_query, lay_steps
from bmacdb.factors.query import tables_of
from bmacdb.factors.texts import length
from bmacdb.interval import Interval

__all__ = ["SETTLED_S", "bars_of_file", "chain", "ctes", "length", "stamp", "statement"]

_FINITE = "CASE WHEN isfinite(value) THEN value END AS value"


def stamp(ms: int) -> str:
    """An instant as a SQL literal."""
    return f"TIMESTAMPTZ '{from_ms(ms).isoformat(sep=' ')}'"


def ctes(bound: Bound) -> list[Cte]:
    """The CTEs of a factor over `bars`; the last has symbol, open_time and value."""
    return lay_steps(bound.steps) if bound.query is None else lay_query(bound.query)


def chain(parts: Sequence[Cte], wanted: str, *, query: bool) -> str:
    """The statement of CTEs that begin with `bars`: symbol, open_time, value of the candles where `wanted` holds."""
    head = ",\n".join(f"{name} AS (\n{textwrap.indent(textwrap.dedent(text), '  ')}\n)" for name, text in parts)
    last = parts[-1][0]
    if query:
        there = "SEMI JOIN (FROM bars WHERE close IS NOT NULL) USING (symbol, open_time)"
        value = "CASE WHEN isfinite(value::DOUBLE) THEN value::DOUBLE END AS value"
        return f"WITH {head}\nSELECT symbol, open_time, {value}\nFROM {last} {there}\nWHERE {wanted}"
    return f"WITH {head}\nSELECT symbol, open_time, {_FINITE}\nFROM {last}\nWHERE close IS NOT NULL AND {wanted}"


def bars_of_file(
    schema: str, interval: Interval, start_ms: int, end_ms: int, symbols: Sequence[str] | None, *, funding: bool
) -> str:
    """`bars` from the tables of a feed: those that opened from `start_ms` on and before `end_ms`."""
    within = f"open_time >= {stamp(start_ms)} AND open_time < {stamp(end_ms)}"
    if symbols is not None:
        quoted = ", ".join("'" + name.replace("'", "''") + "'" for name in symbols)
        within += f" AND symbol IN ({quoted})"
    candles = f"FROM {schema}.candles WHERE {within}"
    return dense(candles, plain(start_ms), plain(end_ms), length(interval), schema, funding)


def plain(ms: int) -> str:
    """An instant as a SQL literal without a zone, in UTC: months of it have their own length wherever it is read."""
    return f"TIMESTAMP '{from_ms(ms).replace(tzinfo=None).isoformat(sep=' ')}'"


def dense(candles: str, start: str, end: str, step: str, schema: str, funding: bool) -> str:
    """A row for each symbol of `candles` and each bar from `start` to before `end`, both without a zone, in UTC.

    `step`: the length of a bar.
    """
    columns = ", ".join(f"{name}::DOUBLE AS {name}" for name in CANDLE_COLUMNS)
    names = ", ".join(FUNDING_COLUMNS) if funding else ""
    text = (
        f"SELECT symbol, open_time, {columns}{f', {names}' if names else ''}\n"
        f"FROM (SELECT DISTINCT symbol FROM ({candles}))\n"
        f"CROSS JOIN (SELECT unnest(range({start}, {end}, {step})) AT TIME ZONE 'UTC' AS open_time)\n"
        f"LEFT JOIN ({candles}) USING (symbol, open_time)"
    )
    if not funding:
        return text
    settled = f"date_trunc('second', funding_time) + INTERVAL {SETTLED_S} SECOND"
    return (
        f"{text}\nLEFT JOIN (\n"
        "  SELECT symbol, opened AS open_time, last(funding_rate ORDER BY funding_time, rate_type) AS funding_rate,\n"
        "    sum(funding_rate) AS funding_sum, count(*)::DOUBLE AS funding_count\n"
        f"  FROM (SELECT *, {settled} AS settled FROM {schema}.funding_rates)\n"
        f"  ASOF JOIN (SELECT unnest(range({start}, {end} + {step}, {step})) AT TIME ZONE 'UTC'"
        " AS opened) ON opened <= settled\n"
        f"  GROUP BY symbol, opened\n) USING (symbol, open_time)"
    )


def statement(
    bound: Bound, schema: str, interval: Interval, first_ms: int, last_ms: int, symbols: Sequence[str] | None = None
) -> str:
    """The factor at the candles of a feed that opened in [first_ms, last_ms]: symbol, open_time, value, in order."""
    start, end = interval.shift(first_ms, 1 - bound.lookback), interval.next(last_ms)
    funding = bool(bound.columns & set(FUNDING_COLUMNS))
    only = None if bound.across else symbols
    parts = [("bars", bars_of_file(schema, interval, start, end, only, funding=funding))]
    if bound.query is not None:
        parts += [(name, f"FROM {schema}.{name}") for name in tables_of(bound.query)]
    wanted = f"open_time >= {stamp(first_ms)}"
    if symbols is not None and only is None:
        wanted += " AND symbol IN (" + ", ".join("'" + name.replace("'", "''") + "'" for name in symbols) + ")"
    text = chain([*parts, *ctes(bound)], wanted, query=bound.query is not None)
    return f"{text}\nORDER BY symbol, open_time"
