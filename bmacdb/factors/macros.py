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
from bmacdb.factors.statement import chain, dense
from bmacdb.factors.texts import SCHEMA, STEP, Template
from bmacdb.factors.window import spelled

__all__ = ["macros"]

_BOUNDS = "since := NULL::TIMESTAMPTZ, until := NULL::TIMESTAMPTZ"
_SINCE = "coalesce(since::TIMESTAMPTZ, TIMESTAMPTZ '1970-01-01 00:00:00+00')"
_UNTIL = "open_time <= coalesce(until::TIMESTAMPTZ, TIMESTAMPTZ '9999-01-01 00:00:00+00')"


def macros(texts: Mapping[str, str]) -> tuple[list[Template], list[str]]:
    """The statements that create the macros, for feeds that `texts.written` puts in, and why some factors have none."""
    factors: dict[str, Factor] = {}
    told: list[str] = []
    for name, text in texts.items():
        try:
            factors[name] = parse_factor(name, text)
        except UsageError as exc:
            told.append(str(exc))
    made: list[Template] = [(text, "") for text in helper_macros()]
    for name, fundings in (("bars", ()), ("bars_with_funding", FUNDING_COLUMNS)):
        made += [("", _bars(name, fundings)), _united(name, ["back"], {"back": "0"})]
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
            made.append(("", _of_feed(factor, _head(names, defaults), factors)))
        except UsageError as exc:
            told.append(str(exc))
            continue
        made.append(_united(name, names, defaults))
    return made, told


def _head(names: Sequence[str], defaults: Mapping[str, str]) -> str:
    ordered = sorted(names, key=lambda name: name in defaults)  # those without a default come first
    return ", ".join([*(f"{name} := {defaults[name]}" if name in defaults else name for name in ordered), _BOUNDS])


def _united(name: str, names: Sequence[str], defaults: Mapping[str, str]) -> Template:
    ordered = sorted(names, key=lambda each: each in defaults)
    given = ", ".join(
        f"{each} := {each}" if each not in names or each in defaults else each for each in [*ordered, "since", "until"]
    )
    head = f"CREATE MACRO main.{name}({_head(names, defaults)}) AS TABLE\n"
    return head, f"SELECT '{SCHEMA}' AS feed, * FROM {SCHEMA}.{name}({given})"


def _of_feed(factor: Factor, head: str, factors: Mapping[str, Factor]) -> str:
    integers = [parameter.name for parameter in factor.parameters if parameter.kind == "int"]
    if factor.query is not None:
        back = query_reach(factor, factor.query)
        ctes = lay_query(_query(factor.query), integers)
        read = {column.name.lower() for column in factor.query.find_all(exp.Column)}
        tables = [(name, f"FROM {SCHEMA}.{name}") for name in tables_of(factor.query)]
    else:
        steps = steps_of(factor, factors.get)
        back = steps_reach(factor, steps)
        ctes = lay_steps([(name, _plain(tree)) for name, tree in steps], integers)
        read = {column.name.lower() for _, tree in steps for column in tree.find_all(exp.Column)}
        tables = []
    bars = "bars_with_funding" if read & set(FUNDING_COLUMNS) else "bars"
    relation = f"FROM {SCHEMA}.{bars}(since := since, until := until, back := {spelled(_plain(back))})"
    text = chain([("bars", relation), *tables, *ctes], f"open_time >= {_SINCE}", query=factor.query is not None)
    return f"CREATE MACRO {SCHEMA}.{factor.name}({head}) AS TABLE\n{text}"


def _query(query: exp.Query) -> exp.Query:
    query = query.copy()
    query.transform(_column, copy=False)
    return query


def _plain(tree: exp.Expr) -> exp.Expr:
    return tree.transform(_column)


def _column(node: exp.Expr) -> exp.Expr:
    """`$n` as `n`, as it is in a macro."""
    return exp.column(node.name) if isinstance(node, exp.Placeholder) else node


def _bars(name: str, fundings: Sequence[str]) -> str:
    """`bars` of a feed: the bars of its candles within the bounds, and `back` bars before the first."""
    candles = f"{SCHEMA}.candles"
    within = f"open_time >= {_SINCE} AND {_UNTIL}"
    read = f"open_time >= (({_SINCE} AT TIME ZONE 'UTC') - back * {STEP}) AT TIME ZONE 'UTC' AND {_UNTIL}"
    start = f"(SELECT (min(open_time) AT TIME ZONE 'UTC') - back * {STEP} FROM {candles} WHERE {within})"
    end = f"(SELECT (max(open_time) AT TIME ZONE 'UTC') + {STEP} FROM {candles} WHERE {within})"
    relation = dense(f"FROM {candles} WHERE {read}", start, end, STEP, SCHEMA, bool(fundings))
    return f"CREATE MACRO {SCHEMA}.{name}({_BOUNDS}, back := 0) AS TABLE\n{relation}"


if __name__ == "__main__":
    sys.stdout.write(json.dumps(macros(json.load(sys.stdin.buffer))))
