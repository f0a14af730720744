"""How far a whole query over `bars` looks back.

That can be told where rows keep their bar: through windows, CTEs, unions, joins on the same open_time, and groups by
it. Whatever else could bring another bar's rows to a row is refused where it stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from bmacdb.errors import did_you_mean
from bmacdb.factors.helpers import expanded
from bmacdb.factors.reach import NONE, Reach, farthest, reach
from bmacdb.factors.source import Factor

__all__ = ["FEED_TABLES", "query_reach", "tables_of"]

FEED_TABLES = ("exginfo", "funding_rates", "funding_snapshots")
"""Tables of the feed that a query may join to `bars`."""

_PART_OF_A_TABLE = ("limit", "offset", "sample", "distinct", "fetch")


@dataclass(frozen=True, slots=True)
class _Relation:
    """`bars`: it has rows of bars. `dense`: one for every bar. `columns`: their reach, by name."""

    bars: bool
    dense: bool
    back: Reach = NONE
    columns: Mapping[str, Reach] = field(default_factory=dict)


def tables_of(query: exp.Query) -> list[str]:
    """The tables of the feed that it reads."""
    named = {table.name.lower() for table in query.find_all(exp.Table)}
    return [name for name in FEED_TABLES if name in named]


def query_reach(factor: Factor, query: exp.Query) -> Reach:
    """How many bars before a row's own it reads. Raises UsageError with line and column where that cannot be told."""
    integers = [parameter.name for parameter in factor.parameters if parameter.kind == "int"]
    found = _Reading(factor, integers).of(query, {})
    names = [name.lower() for name in query.named_selects]
    if missing := [name for name in ("symbol", "open_time", "value") if name not in names and "*" not in names]:
        raise factor.error(None, f"the query gives {', '.join(names)} and lacks {', '.join(missing)}.")
    if not found.bars:
        raise factor.error(None, "the query does not read bars.")
    return found.back


@dataclass(frozen=True, slots=True)
class _Reading:
    factor: Factor
    integers: list[str]

    def of(self, query: exp.Expr, ctes: Mapping[str, _Relation]) -> _Relation:
        known = dict(ctes)
        head = query.args.get("with_")
        if head is not None and head.args.get("recursive"):
            raise self.factor.error(query, "a recursive query looks back without an end.")
        for cte in head.expressions if head is not None else ():
            known[cte.alias.lower()] = self.of(cte.this, known)
        if isinstance(query, exp.Subquery):
            return self.of(query.this, known)
        if isinstance(query, exp.SetOperation):
            one, other = self.of(query.left, known), self.of(query.right, known)
            names = {*one.columns, *other.columns}
            columns = {name: farthest([one.columns.get(name, NONE), other.columns.get(name, NONE)]) for name in names}
            return _Relation(one.bars or other.bars, False, farthest([one.back, other.back]), columns)
        if not isinstance(query, exp.Select):
            raise self.factor.error(query, f"{query.key} is no query that a factor can be.")
        return self._select(query, known)

    def _select(self, query: exp.Select, ctes: Mapping[str, _Relation]) -> _Relation:
        if part := next((query.args[name] for name in _PART_OF_A_TABLE if query.args.get(name)), None):
            raise self.factor.error(part, f"{part.key.upper()} makes a value depend on how many bars are read.")
        origin = query.args.get("from_")
        sources = [] if origin is None else [self._source(origin.this, ctes)]
        for join in query.args.get("joins") or ():
            source = self._source(join.this, ctes)
            self._check_join(join, source, sources)
            sources.append(source)
        bars = any(source.bars for source in sources)
        known = {
            name: farthest(source.columns.get(name, NONE) for source in sources)
            for source in sources
            for name in source.columns
        }
        self._check_rows(query, bars, ctes)
        own = {window.this.name.lower(): window for window in query.args.get("windows") or ()}
        backs = [source.back for source in sources]
        dense = (
            bars
            and all(source.dense or not source.bars for source in sources)
            and not any(query.args.get(name) for name in ("where", "having", "qualify"))
            and all(join.side == "LEFT" or join.args.get("using") for join in query.args.get("joins") or ())
        )
        columns: dict[str, Reach] = {}

        def back(tree: exp.Expr) -> Reach:
            wide = expanded(tree)
            for window in wide.find_all(exp.Window):
                if bars and not dense and "open_time" not in window.sql().lower() and window.alias.lower() != "market":
                    raise self.factor.error(
                        tree, "a window of a symbol's bars goes over rows that were left out before: filter after it."
                    )
            return reach(wide, known, self.factor.error, parameters=self.integers, own=own)

        for item in query.expressions:
            if item.is_star:
                columns |= known
                continue
            name = item.alias_or_name.lower()
            backs.append(back(item.unalias()))
            columns[name] = backs[-1]
            if name not in known:
                known[name] = backs[-1]
        for name in ("where", "group", "having", "qualify", "order"):
            if part := query.args.get(name):
                backs += [back(one) for one in part.iter_expressions()]
        return _Relation(bars, dense, farthest(backs), columns)

    def _source(self, node: exp.Expr, ctes: Mapping[str, _Relation]) -> _Relation:
        if isinstance(node, exp.Subquery):
            return self.of(node, ctes)
        if not isinstance(node, exp.Table):  # VALUES, unnest of a list
            return _Relation(False, False)
        name = node.name.lower()
        if not isinstance(node.this, exp.Identifier) and name in ("range", "generate_series", "unnest"):
            return _Relation(False, False)
        if name in ctes and not node.db:
            return ctes[name]
        if name == "bars" and not node.db:
            return _Relation(True, True)
        if name in FEED_TABLES and not node.db:
            return _Relation(False, False)
        hint = did_you_mean(name, ["bars", *FEED_TABLES, *ctes])
        raise self.factor.error(node, f"a factor reads bars, {', '.join(FEED_TABLES)}, and not {node.sql()}.{hint}")

    def _check_join(self, join: exp.Join, source: _Relation, before: Iterable[_Relation]) -> None:
        if not (source.bars and any(one.bars for one in before)):
            return
        using = {column.name.lower() for column in join.args.get("using") or ()}
        on = join.args.get("on")
        equal = [part for part in (on.flatten() if isinstance(on, exp.And) else [on]) if isinstance(part, exp.EQ)]
        same = any(part.left.name.lower() == part.right.name.lower() == "open_time" for part in equal)
        if str(join.method).upper() == "ASOF" or not ("open_time" in using or same):
            raise self.factor.error(
                join.this, "bars are joined to bars of the same open_time alone. For other bars take lag() or a window."
            )

    def _check_rows(self, query: exp.Select, bars: bool, ctes: Mapping[str, _Relation]) -> None:
        """No subquery over bars, and no aggregate over several of them."""
        if not bars:
            return
        group = query.args.get("group")
        grouped = group is not None and any(part.name.lower() == "open_time" for part in group.expressions)
        for name in ("expressions", "where", "having", "qualify"):
            part = query.args.get(name)
            for tree in part if isinstance(part, list) else [part] if part else []:
                for inner in tree.find_all(exp.Query):
                    if any(
                        table.name.lower() == "bars" or (table.name.lower() in ctes and ctes[table.name.lower()].bars)
                        for table in inner.find_all(exp.Table)
                    ):
                        raise self.factor.error(inner, "a subquery over bars: its look-back cannot be told. Join it.")
                for aggregate in tree.find_all(exp.AggFunc):
                    inside = aggregate.find_ancestor(exp.Window, exp.Subquery)
                    if inside is None and not grouped:
                        raise self.factor.error(
                            aggregate, "an aggregate of bars needs GROUP BY open_time, or a window."
                        )
