"""One bounded statement for all SQL factors of a request.

Live (one run time) and research (a range of them) are the same expressions over the same lists: a value at a run
time is a function of the bars in [run_time - lookback, run_time) and of nothing else, down to the last bit. That is
why windows are slices of lists and not window aggregates, whose order of summation depends on the rows around.

    bars      the candles of the range, numbered by their place on the grid (k)
    gathered  one row a symbol: a list per column, in the order the rows came
    placed    where the rows came out of order or bars are missing: which element belongs to which bar
    dense     lists with one element per bar, null where the candle is missing
    stage_i   the factors' series, element by element
    found     the values
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bmacdb.clock import from_ms
from bmacdb.factor.template import CANDLE_COLUMNS, FUNDING_COLUMNS, Bound
from bmacdb.interval import Interval

__all__ = ["SETTLED_S", "Range", "build", "quote", "rows_statement", "stamp"]

_WORD = re.compile(r"[A-Za-z_]\w*")
_AT = re.compile(r"\b(\w+)\[\s*t\s*(?:-\s*([^\]:]+?)\s*)?\]")


SETTLED_S = 120
"""A settled funding counts from the candle in which it is this many seconds old: by then the recorder has it."""


def quote(text: str) -> str:
    """A text as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def stamp(ms: int) -> str:
    """An instant as a SQL literal."""
    return f"TIMESTAMPTZ '{from_ms(ms).isoformat()}'"


@dataclass(frozen=True, slots=True)
class Range:
    """Which bars: those of `interval` that opened in [first_ms, last_ms], of `symbols` (all when None), in `schema`.

    `schema` is an identifier that was checked; the bars before `first_ms` that factors look back at come on top.
    """

    schema: str
    interval: Interval
    first_ms: int
    last_ms: int
    symbols: tuple[str, ...] | None = None

    def grid(self, lookback: int) -> tuple[int, int, int]:
        """(open time of the first bar read, end, number of bars) with `lookback` bars up to the first."""
        start = self.interval.shift(self.first_ms, 1 - lookback)
        end = self.interval.next(self.last_ms)
        return start, end, lookback - 1 + self.interval.count(self.first_ms, end)

    def where(self, start: int, end: int, *, symbols: bool = True) -> str:
        text = f"open_time >= {stamp(start)} AND open_time < {stamp(end)}"
        return text + (self.only() if symbols else "")

    def only(self, column: str = "symbol") -> str:
        if self.symbols is None:
            return ""
        return f" AND {column} IN ({', '.join(map(quote, self.symbols)) or 'NULL'})"

    def table(self, name: str) -> str:
        return f'"{self.schema}".{name}'

    def place(self, lookback: int, time: str) -> str:
        """SQL for the place on the grid of `lookback`, from 0, of the bar that the instant `time` lies in."""
        start, end, total = self.grid(lookback)
        ahead = total - self.interval.count(start, end)  # places before 1970, where there is nothing to read
        if self.interval.name == "1M":
            opened = from_ms(start)
            month = f"{time} AT TIME ZONE 'UTC'"
            return f"(year({month}) * 12 + month({month}) - {opened.year * 12 + opened.month - ahead})::BIGINT"
        return f"(epoch_ms({time}) - {start}) // {self.interval.length_ms}" + (f" + {ahead}" if ahead else "")


def rows_statement(span: Range, *, between: tuple[str, str], lookback: int = 1) -> str:
    """The candles of the symbols from `between[0]` to `between[1]`, in no order, with `lookback` bars up to the first.

    Columns: symbol, k (place on the grid), the candle columns as DOUBLE.
    """
    start, end, _ = span.grid(lookback)
    low, high = map(quote, between)
    chosen = ", ".join(f"{name}::DOUBLE AS {name}" for name in CANDLE_COLUMNS)
    return (
        f"SELECT symbol, ({span.place(lookback, 'open_time')})::INTEGER AS k, {chosen} "
        f"FROM {span.table('candles')} WHERE {span.where(start, end)} AND symbol >= {low} AND symbol <= {high}"
    )


@dataclass(slots=True)
class _Series:
    """The series of all factors, equal ones once."""

    names: dict[str, str]
    rows: list[tuple[str, str]]
    stages: list[list[tuple[str, str]]]

    def add(self, bound: Bound) -> dict[str, str]:
        """Where this factor's series are found: own name -> alias."""
        own: dict[str, str] = {}
        depth = {alias: stage for stage, made in enumerate(self.stages, 1) for alias, _ in made}
        for name, text in bound.series:
            text = _rename(text, own)
            alias = self.names.get(text)
            if alias is None:
                alias = self.names[text] = f"s{len(self.names)}"
                if (row := _of_one_row(text)) is not None:
                    self.rows.append((alias, row))
                else:
                    needs = (depth.get(word, 0) for word in own.values() if re.search(rf"\b{word}\b", text))
                    stage = max(needs, default=0)
                    while len(self.stages) <= stage:
                        self.stages.append([])
                    self.stages[stage].append((alias, text))
                    depth[alias] = stage + 1
            own[name] = alias
        return own

    def words(self) -> frozenset[str]:
        """Every name that the lists are made from."""
        return frozenset(word for stage in self.stages for _, text in stage for word in _WORD.findall(text))


def _of_one_row(text: str) -> str | None:
    """A series whose elements need their own candle alone, as an expression of its columns; None for any other."""
    if any(back or name not in CANDLE_COLUMNS for name, back in _AT.findall(text)):
        return None
    return _AT.sub(lambda match: f"{match[1]}::DOUBLE" if match[1] == "trade_num" else match[1], text)


def _rename(text: str, names: dict[str, str]) -> str:
    if not names:
        return text
    return re.sub(rf"\b({'|'.join(names)})\b", lambda match: names[match[1]], text)


def _elements(text: str, total: int) -> str:
    """A series as one list expression: `close[t] / close[t - 1] - 1` over the lists close and close, one bar later.

    The lists are zipped, because a lambda that reads a list from outside copies the whole of it for each element.
    """
    lists: dict[str, str] = {}

    def element(match: re.Match[str]) -> str:
        name, back = match[1], match[2]
        taken = f"list_concat(list_resize([]::DOUBLE[], {back}), {name}[1 : {total} - ({back})])" if back else name
        place = list(lists).index(taken) if taken in lists else len(lists)
        return lists.setdefault(taken, f"z[{place + 1}]")

    body = _AT.sub(element, text)
    # Zipped with a second list even where one would do: that keeps `z[1]` what it is.
    zipped = ", ".join([*lists, "NULL::DOUBLE[]"][: max(len(lists), 2)])
    return (
        f"list_transform(list_transform(list_zip({zipped}), lambda z: ({body})::DOUBLE),"
        " lambda v: CASE WHEN isfinite(v) THEN v END)"
    )


def _value(bound: Bound, series: dict[str, str], pos: str) -> str:
    """The factor's expression at `pos`, lets folded in, null where the look-back has a hole and must not."""
    text = bound.expression
    for name, let in reversed(bound.lets):
        text = f"list_transform([{let}], lambda {name}: {text})[1]"
    text = re.sub(r"\bpos\b", pos, _rename(text, series))
    if bound.whole:
        window = f"close[{pos} - {bound.lookback - 1} : {pos}]"
        text = f"CASE WHEN intact OR list_count({window}) = {bound.lookback} THEN {text} END"
    return f"({text})::DOUBLE"


def build(bounds: Sequence[Bound], crosses: Sequence[tuple[Bound, str]], span: Range) -> str:
    """The statement.

    Columns: symbol, k (place of the bar, from 0, on the grid of the longest look-back), `held` (bars of the symbol in
    the range read), the candle columns, f0, f1 … of `bounds` and c0, c1 … of `crosses` (each with the column, `f3`, of
    the factor it compares); DOUBLE, null where there is no finite value. One row per candle of the range, by symbol, k.
    """
    lookback = max((bound.lookback for bound in bounds), default=1)
    _, end, total = span.grid(lookback)
    live = span.first_ms == span.last_ms
    series = _Series({}, [], [])
    owned = [series.add(bound) for bound in bounds]
    words = series.words().union({"close"}, *(bound.read for bound in bounds))
    columns = [name for name in (*CANDLE_COLUMNS, *FUNDING_COLUMNS) if name in words]
    steps = _gather(span, columns, series.rows, lookback, everyone=bool(crosses))

    previous = "dense"
    for number, stage in enumerate(series.stages):
        made = ", ".join(f"{_elements(text, total)} AS {alias}" for alias, text in stage)
        steps.append(f"stage_{number} AS (SELECT *, {made} FROM {previous})")
        previous = f"stage_{number}"

    pos = str(total) if live else "pos"
    values = [_value(bound, own, pos) for bound, own in zip(bounds, owned, strict=True)]
    place = f"{total - 1}"
    if not live:
        values = [f"unnest(list_transform(range({lookback}, {total + 1}), lambda pos: {value}))" for value in values]
        place = f"unnest(range({lookback - 1}, {total}))"
    named = "".join(f", {value} AS f{i}" for i, value in enumerate(values))
    steps.append(f"found AS (SELECT symbol, {place} AS k, held{named} FROM {previous})")

    shown = ", ".join(f"{name}::DOUBLE AS {name}" for name in CANDLE_COLUMNS)
    there = (
        f"there AS (SELECT symbol, {span.place(lookback, 'open_time')} AS k, {shown} FROM {span.table('candles')} "
        f"WHERE {span.where(span.first_ms, end, symbols=not crosses)})"
    )
    finite = "".join(f", CASE WHEN isfinite(f{i}) THEN f{i} END AS f{i}" for i in range(len(bounds)))
    candles = ", ".join(CANDLE_COLUMNS)
    steps += [there, f"kept AS (SELECT symbol, k, held, {candles}{finite} FROM there JOIN found USING (symbol, k))"]
    if not crosses:
        return f"WITH {', '.join(steps)} SELECT * FROM kept ORDER BY symbol, k"
    return f"WITH {', '.join(steps)}, {_cross(crosses, len(bounds))} WHERE true{span.only()} ORDER BY symbol, k"


def _gather(
    span: Range, columns: list[str], rows: Sequence[tuple[str, str]], lookback: int, *, everyone: bool
) -> list[str]:
    """From candles to dense lists, of columns and of series that are computed row by row."""
    start, end, total = span.grid(lookback)
    place = span.place(lookback, "open_time")
    candles = [name for name in columns if name in CANDLE_COLUMNS]
    where = span.where(start, end, symbols=not everyone)
    made = [f"CASE WHEN isfinite({text}) THEN {text} END AS {alias}" for alias, text in rows]
    picked = ", ".join([*candles, *made])
    read = f"SELECT symbol, {place} AS k, {picked} FROM {span.table('candles')} WHERE {where}"
    steps = [f"bars AS ({read})"]
    if len(candles) < len(columns):
        # The recorder asks for a settlement some time after it: live values could not be those of research if it
        # counted sooner. (The stamp itself is some milliseconds late.)
        settled = f"date_trunc('second', funding_time) + INTERVAL {SETTLED_S} SECOND"
        narrowed = "" if everyone else span.only()
        steps = [
            f"candle_bars AS ({read})",
            "settlements AS (SELECT symbol, k, rates[-1] AS funding_rate, list_sum(rates) AS funding_sum,"
            " len(rates) AS funding_count FROM (SELECT symbol,"
            f" {span.place(lookback, settled)} AS k, list(funding_rate ORDER BY funding_time, rate_type) AS rates"
            f" FROM {span.table('funding_rates')}"
            f" WHERE {settled} >= {stamp(start)} AND {settled} < {stamp(end)}{narrowed} GROUP BY ALL))",
            "bars AS (SELECT symbol, k, * EXCLUDE (symbol, k)"
            " FROM candle_bars FULL JOIN settlements USING (symbol, k))",
        ]
    columns = [*columns, *(alias for alias, _ in rows)]
    lists = ", ".join(f"list({name}::DOUBLE) AS {name}" for name in columns)
    steps.append(f"gathered AS (SELECT symbol, list(k) AS k, {lists} FROM bars GROUP BY symbol)")
    # Within a group every list holds the rows in one and the same order, which nearly always is that of time.
    steps.append(
        f"ordered AS (SELECT *, CASE WHEN k = range({total}) THEN NULL ELSE list_grade_up(k) END AS grade"
        " FROM gathered)"
    )
    steps.append("sorted AS (SELECT *, CASE WHEN grade IS NOT NULL THEN list_select(k, grade) END AS ks FROM ordered)")
    # Index 0 of a list is null: it stands in for each missing bar.
    before = "ks[j] - (CASE WHEN j > 1 THEN ks[j - 1] ELSE -1 END) - 1"
    steps.append(
        "placed AS (SELECT *, CASE WHEN grade IS NOT NULL THEN"
        " list_resize(flatten(list_transform(range(1, len(ks) + 1),"
        f" lambda j: list_concat(list_resize([]::BIGINT[], {before}, 0), [grade[j]]))), {total}, 0) END AS place"
        " FROM sorted)"
    )
    dense = ", ".join(f"CASE WHEN place IS NULL THEN {c} ELSE list_select({c}, place) END AS {c}" for c in columns)
    steps.append(
        f"dense AS MATERIALIZED (SELECT symbol, list_count(close) AS held, list_count(close) = {total} AS intact,"
        f" {dense} FROM placed)"
    )
    return steps


def _cross(crosses: Sequence[tuple[Bound, str]], count: int) -> str:
    """The last steps for factors across the market: from `kept` to the columns c0, c1 …"""
    lists, values = [], []
    for number, (bound, column) in enumerate(crosses):
        # In the order of symbols, so that sums come out alike every time.
        lists.append(f"list({column} ORDER BY symbol) FILTER ({column} IS NOT NULL) AS m{number}")
        text = re.sub(r"\bvalue\b", column, re.sub(r"\bmarket\b", f"m{number}", bound.expression))
        values.append(f"CASE WHEN {column} IS NOT NULL THEN ({text})::DOUBLE END AS c{number}")
    finite = "".join(f", CASE WHEN isfinite(c{n}) THEN c{n} END AS c{n}" for n in range(len(crosses)))
    factors = ", ".join([*CANDLE_COLUMNS, *(f"f{i}" for i in range(count))])
    return (
        f"markets AS (SELECT k, {', '.join(lists)} FROM kept GROUP BY k), "
        f"crossed AS (SELECT symbol, k, held, {factors}, {', '.join(values)} FROM kept JOIN markets USING (k)) "
        f"SELECT symbol, k, held, {factors}{finite} FROM crossed"
    )
