"""Factors as macros in a database, for any shell: `FROM usdt_perp_5m.PctChg(100, since := now() - INTERVAL 1 DAY)`.

Each feed's schema has a table macro for every factor, and `bars`, the relation that they go over; `main` has the same
with a leading column `feed`, over all feeds, and the helpers. `since` and `until` bound the open times: DuckDB pushes
no filter below a window, so that without them the whole record is computed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence

from sqlglot import exp

from bmacdb.errors import UsageError
from bmacdb.factors.bind import functions, steps_of, steps_reach
from bmacdb.factors.columns import FUNDING_COLUMNS
from bmacdb.factors.helpers import helper_macros, helpers
from bmacdb.factors.lay import lay_query, lay_steps
from bmacdb.factors.query import query_reach, tables_of
from bmacdb.factors.source import Factor, parse_factor
from bmacdb.factors.statement import chain, dense, length
from bmacdb.factors.window import spelled
from bmacdb.model import Feed
from bmacdb.symbols import parse_feed

__all__ = ["macros"]

_SCHEMA = "$schema"
_BOUNDS = "since := NULL::TIMESTAMPTZ, until := NULL::TIMESTAMPTZ"
_SINCE = "coalesce(since::TIMESTAMPTZ, TIMESTAMPTZ '1970-01-01 00:00:00+00')"
_UNTIL = "open_time <= coalesce(until::TIMESTAMPTZ, TIMESTAMPTZ '9999-01-01 00:00:00+00')"


def macros(texts: Mapping[str, str], feeds: Sequence[Feed]) -> tuple[list[str], list[str]]:
    """The statements that create the macros, and why some factors have none."""
    factors: dict[str, Factor] = {}
    told: list[str] = []
    for name, text in texts.items():
        try:
            factors[name] = parse_factor(name, text)
        except UsageError as exc:
            told.append(str(exc))
    made = helper_macros()
    for feed in feeds:
        made += [_bars(feed, "bars", ()), _bars(feed, "bars_with_funding", FUNDING_COLUMNS)]
    made += _united("bars", ["back"], {"back": "0"}, feeds) + _united(
        "bars_with_funding", ["back"], {"back": "0"}, feeds
    )
    for name, factor in factors.items():
        if any(parameter.kind == "factor" for parameter in factor.parameters):
            continue  # a macro takes no macro: cs_rank(value) over another's rows is the same
        if name.lower() in functions() or name.lower() in helpers() or not name.isidentifier():
            told.append(f"factor {name}: it has no macro, as DuckDB has a function of that name. Call it otherwise.")
            continue
        names = [parameter.name for parameter in factor.parameters]
        defaults = {
            parameter.name: f"'{parameter.default}'" if isinstance(parameter.default, str) else str(parameter.default)
            for parameter in factor.parameters
            if parameter.default is not None
        }
        try:
            text = _of_feed(factor, _head(names, defaults), factors)
        except UsageError as exc:
            told.append(str(exc))
            continue
        made += [text.replace(_SCHEMA, feed.name) for feed in feeds]
        made += _united(name, names, defaults, feeds)
    return made, told


def _head(names: Sequence[str], defaults: Mapping[str, str]) -> str:
    ordered = sorted(names, key=lambda name: name in defaults)  # those without a default come first
    return ", ".join([*(f"{name} := {defaults[name]}" if name in defaults else name for name in ordered), _BOUNDS])


def _united(name: str, names: Sequence[str], defaults: Mapping[str, str], feeds: Sequence[Feed]) -> list[str]:
    if not feeds:
        return []
    ordered = sorted(names, key=lambda each: each in defaults)
    given = ", ".join(
        f"{each} := {each}" if each not in names or each in defaults else each for each in [*ordered, "since", "until"]
    )
    parts = [f"SELECT '{feed.name}' AS feed, * FROM {feed.name}.{name}({given})" for feed in feeds]
    return [f"CREATE MACRO main.{name}({_head(names, defaults)}) AS TABLE\n" + "\nUNION ALL\n".join(parts)]


def _of_feed(factor: Factor, head: str, factors: Mapping[str, Factor]) -> str:
    """The macro of a feed whose schema is called _SCHEMA: the text takes a while, and is alike for all feeds."""
    integers = [parameter.name for parameter in factor.parameters if parameter.kind == "int"]
    if factor.query is not None:
        back = query_reach(factor, factor.query)
        ctes = lay_query(_query(factor.query), integers)
        read = {column.name.lower() for column in factor.query.find_all(exp.Column)}
        tables = [(name, f"FROM {_SCHEMA}.{name}") for name in tables_of(factor.query)]
    else:
        steps = steps_of(factor, factors.get)
        back = steps_reach(factor, steps)
        ctes = lay_steps([(name, _plain(tree)) for name, tree in steps], integers)
        read = {column.name.lower() for _, tree in steps for column in tree.find_all(exp.Column)}
        tables = []
    bars = "bars_with_funding" if read & set(FUNDING_COLUMNS) else "bars"
    relation = f"FROM {_SCHEMA}.{bars}(since := since, until := until, back := {spelled(_plain(back))})"
    text = chain([("bars", relation), *tables, *ctes], f"open_time >= {_SINCE}", query=factor.query is not None)
    return f"CREATE MACRO {_SCHEMA}.{factor.name}({head}) AS TABLE\n{text}"


def _query(query: exp.Query) -> exp.Query:
    query = query.copy()
    query.transform(_column, copy=False)
    return query


def _plain(tree: exp.Expr) -> exp.Expr:
    return tree.transform(_column)


def _column(node: exp.Expr) -> exp.Expr:
    """`$n` as `n`, as it is in a macro."""
    return exp.column(node.name) if isinstance(node, exp.Placeholder) else node


def _bars(feed: Feed, name: str, fundings: Sequence[str]) -> str:
    """`bars` of a feed: the bars of its candles within the bounds, and `back` bars before the first."""
    step = length(feed.interval)
    candles = f"{feed.name}.candles"
    within = f"open_time >= {_SINCE} AND {_UNTIL}"
    read = f"open_time >= (({_SINCE} AT TIME ZONE 'UTC') - back * {step}) AT TIME ZONE 'UTC' AND {_UNTIL}"
    start = f"(SELECT (min(open_time) AT TIME ZONE 'UTC') - back * {step} FROM {candles} WHERE {within})"
    end = f"(SELECT (max(open_time) AT TIME ZONE 'UTC') + {step} FROM {candles} WHERE {within})"
    relation = dense(f"FROM {candles} WHERE {read}", start, end, feed.interval, feed.name, bool(fundings))
    return f"CREATE MACRO {feed.name}.{name}({_BOUNDS}, back := 0) AS TABLE\n{relation}"


if __name__ == "__main__":
    given_texts, given_feeds = json.load(sys.stdin.buffer)
    sys.stdout.write(json.dumps(macros(given_texts, list(map(parse_feed, given_feeds)))))
