"""Bars of a longer interval in the file: the query that makes them, the schema that keeps them.

All offsets are one pass over the sorted bars: sums and extremes of 2, 4, 8 … bars are made of those of half the size,
and a bar of 12 parts of those of 4 and of 8. So 12 offsets cost less than one group-by each, and 288 little more.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from bmacdb.clock import from_ms
from bmacdb.model import Market
from bmacdb.offset import Resampling
from bmacdb.sql import queries
from bmacdb.store import schema
from bmacdb.store.commit import roll_back

__all__ = [
    "Made",
    "bars_query",
    "create",
    "drop_before",
    "ending_query",
    "keep_all",
    "made_until",
    "make",
    "mend",
    "minutes_feed",
]

_SUMMED = (
    "volume",
    "quote_volume",
    "trade_num",
    "taker_buy_base_asset_volume",
    "taker_buy_quote_asset_volume",
)
_CARRIED = "key, open, close"
_CODE_BITS = 14  # for the symbols of a market, of which there are some thousand
_MINUTE = "1m"
_PLACES = re.compile(r"\b(base|derived|minute)\.(?=[a-z_]+\b)")


@dataclass(frozen=True, slots=True)
class Made:
    """What is there for a run time: of `expected` symbols `ready` have their bar, `missing` have a hole; `new` are the
    symbols whose bars came just now, `repaired` counts those that came after the rest."""

    run_time_ms: int
    expected: int
    ready: int
    missing: tuple[str, ...]
    new: tuple[str, ...]
    complete_at_ms: int | None
    repaired: int


def _steps(parts: int, carried: str) -> Iterator[str]:
    """The select lists that sum up `parts` rows, from sums of 1 (`_p`) to the whole (`_a`)."""
    size, taken = 1, 0
    while True:
        chosen = bool(parts & size)
        last = size * 2 > parts
        columns = [carried]
        for column in ("high", "low", *_SUMMED):
            if chosen:
                columns.append(f"{_joined(column, 'a', taken) if taken else f'{column}_p'} AS {column}_a")
            elif taken:
                columns.append(f"{column}_a")
            if not last:
                columns.append(f"{_joined(column, 'p', size)} AS {column}_p")
        yield ", ".join(columns)
        if last:
            return
        taken += size if chosen else 0
        size *= 2


def _joined(column: str, recent: str, rows: int) -> str:
    """`recent`, which ends here and is `rows` long, together with the sums that end before it."""
    before = f"lag({column}_p, {rows}) OVER ()"
    if column in _SUMMED:
        return f"{column}_{recent} + {before}"
    return f"{'greatest' if column == 'high' else 'least'}({column}_{recent}, {before})"


def bars_query(
    resampling: Resampling,
    start_ms: int,
    end_ms: int,
    *,
    symbols: Collection[str] | None = None,
    minutes: str | None = None,
    funding: bool = True,
) -> tuple[str, dict[str, object]]:
    """The query for the bars that open in [start, end), and its parameters.

    Columns: symbol, open_time, offset (minutes), the values of candles, vwap_1m, funding_rate, funding_price,
    funding_time. Only bars of which every part is there; in no order. `minutes` names a feed of 1m bars of the same
    symbols, for vwap_1m; `funding` false leaves the fundings null and saves their look-up.
    """
    sql = queries("resample")
    vwap = _own_vwap(resampling)
    behind = resampling.parts - 1
    needed = resampling.needed(start_ms, end_ms)
    key = _key(resampling, *needed)
    tables = {
        "codes": sql["codes"].sql.format(**key),
        "p0": sql["parts"].sql.format(vwap=f", {vwap} AS vwap" if vwap else "", **key),
    }
    carried = f"{_CARRIED}, vwap" if vwap else _CARRIED
    for number, columns in enumerate(_steps(resampling.parts, carried)):
        last = f"p{number + 1}"
        tables[last] = f"SELECT {columns} FROM p{number}"
    opened = f"lag(vwap, {behind}) OVER ()" if vwap else "NULL::DOUBLE"
    tables["summed"] = sql["summed"].sql.format(behind=behind, vwap=opened, last=last)
    tables["bars"] = sql["bars"].sql.format(**key)
    query, params = _with_extras(resampling, tables, minutes, funding)
    params |= {
        "start": needed[0],
        "end": needed[1],
        "symbols": None if symbols is None else list(symbols),
        "step": resampling.feed.interval.length_ms,
    }
    if len(resampling.offsets) < resampling.parts:
        query += ' WHERE list_contains($offsets::INTEGER[], "offset") AND (epoch_ms(open_time) - $anchor) % 60000 = 0'
        params |= {"offsets": list(resampling.offsets), "anchor": resampling.to.anchor_ms}
    return query, params


def _key(resampling: Resampling, start_ms: int, end_ms: int) -> dict[str, object]:
    """How one integer says which bar of which symbol a row is: the symbol's code above, the bar's number below.

    Bars are numbered from the first that can open in [start, end), and there is room behind the last, so that no bar
    of a symbol ever seems to follow one of the symbol before.
    """
    step_ms, length_ms = resampling.feed.interval.length_ms, resampling.to.length_ms
    first = start_ms // step_ms
    bits = (end_ms // step_ms - first + 1 + resampling.parts).bit_length()
    opened = first - resampling.parts + 1  # of the bar whose last part is number 0: its first part, on the whole grid
    place, rest = divmod((opened * step_ms - resampling.to.anchor_ms) % length_ms, step_ms)
    return {
        "integer": "INTEGER" if bits <= 31 - _CODE_BITS else "BIGINT",
        "bits": bits,
        "mask": (1 << bits) - 1,
        "first": first,
        "opened": opened,
        "place": place,
        "rest": rest,
        "parts": resampling.parts,
    }


def ending_query(resampling: Resampling, open_ms: int, minutes: str | None) -> tuple[str, dict[str, object]]:
    """The query for the bars that open at `open_ms`, as `bars_query` gives them."""
    ending = queries("resample")["ending"].sql.format(
        vwap=_own_vwap(resampling) or "NULL::DOUBLE", parts=resampling.parts
    )
    query, params = _with_extras(resampling, {"bars": ending}, minutes, True)
    length_ms = resampling.to.length_ms
    bounds = {"start": open_ms, "end": open_ms + length_ms, "anchor": resampling.to.anchor_ms, "length": length_ms}
    return query, params | bounds


def _priced(resampling: Resampling) -> bool:
    # On COIN-M volumes count contracts, of which no price comes out.
    return resampling.feed.market is not Market.COIN_FUTURES


def _own_vwap(resampling: Resampling) -> str:
    """The mean price of a part, where parts are minutes; else ''."""
    own = _priced(resampling) and resampling.feed.interval.name == _MINUTE
    return queries("resample")["vwap"].sql if own else ""


def _with_extras(
    resampling: Resampling, tables: dict[str, str], minutes: str | None, funding: bool
) -> tuple[str, dict[str, object]]:
    """The query over `tables`, the last of which are `bars`, with vwap and fundings; and what these ask for."""
    sql = queries("resample")
    joins = ""
    columns = 'symbol, open_time, "offset", open, high, low, close, volume, quote_volume, trade_num, ' + ", ".join(
        _SUMMED[3:]
    )
    with_minutes = minutes is not None and _priced(resampling) and resampling.feed.interval.name != _MINUTE
    if with_minutes:
        tables["minutes"] = sql["minutes"].sql.format(vwap=sql["vwap"].sql)
        joins += " LEFT JOIN minutes USING (symbol, open_time)"
    columns += ", minutes.vwap AS vwap_1m" if with_minutes else ", vwap_1m"
    if funding:
        tables["funding"] = sql["funding"].sql.format(parts=resampling.parts)
        joins += " LEFT JOIN funding USING (symbol, open_time)"
        columns += ", funding_rate, funding_price, funding_time"
    else:
        columns += ", NULL::DOUBLE AS funding_rate, NULL::DOUBLE AS funding_price, NULL::TIMESTAMPTZ AS funding_time"
    params: dict[str, object] = {"step": resampling.feed.interval.length_ms} if with_minutes or funding else {}
    text = ", ".join(
        f"{name} AS {'MATERIALIZED ' if name == 'codes' else ''}({query})" for name, query in tables.items()
    )
    return _placed(f"WITH {text} SELECT {columns} FROM bars{joins}", resampling, minutes), params


def _placed(text: str, resampling: Resampling, minutes: str | None = None) -> str:
    places = {"base": resampling.feed.name, "derived": resampling.name, "minute": minutes or resampling.feed.name}
    return _PLACES.sub(lambda match: f"{schema.quoted(places[match[1]])}.", text)


def _run(
    connection: duckdb.DuckDBPyConnection, name: str, resampling: Resampling, params: Mapping[str, object] | None = None
) -> duckdb.DuckDBPyConnection:
    return connection.execute(_placed(queries("resample")[name].sql, resampling), params or None)


def minutes_feed(connection: duckdb.DuckDBPyConnection, resampling: Resampling) -> str | None:
    """The feed of 1m bars beside the one that bars are made of, where the file has one."""
    name = f"{resampling.feed.trade_type}_{_MINUTE}"
    return name if name in schema.feed_names(connection) else None


def create(connection: duckdb.DuckDBPyConnection, resampling: Resampling, now_ms: int) -> None:
    """Make room for the bars of `resampling`, or take up what there is; the feed itself must be there.

    Raises duckdb.Error.
    """
    connection.execute("BEGIN")
    try:
        _run(connection, "resampled", resampling)
        offsets = connection.execute(
            "SELECT offsets FROM main.resampled WHERE feed = $feed", {"feed": resampling.name}
        ).fetchone()
        if offsets is None:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema.quoted(resampling.name)}")
            for name in ("derived_candles", "derived_run_status", "derived_runs"):
                _run(connection, name, resampling)
            connection.execute(
                "INSERT INTO main.resampled VALUES (?, ?, ?, ?, ?)",
                [
                    resampling.name,
                    resampling.feed.name,
                    resampling.to.name,
                    list(resampling.offsets),
                    from_ms(now_ms),
                ],
            )
            schema.create_views(connection, schema.feed_names(connection))
        elif not set(resampling.offsets) <= set(offsets[0]):
            connection.execute(
                "UPDATE main.resampled SET offsets = $offsets WHERE feed = $feed",
                {"offsets": sorted({*offsets[0], *resampling.offsets}), "feed": resampling.name},
            )
        connection.execute("COMMIT")
    except duckdb.Error:
        roll_back(connection)
        raise


def made_until(connection: duckdb.DuckDBPyConnection, resampling: Resampling) -> int:
    """When the last bar opened that is kept; -1 where none is."""
    row = _run(connection, "made_until", resampling).fetchone()
    return -1 if row is None or row[0] is None else int(row[0])


def make(
    connection: duckdb.DuckDBPyConnection,
    resampling: Resampling,
    open_ms: int,
    *,
    complete: bool,
    traded: int,
    now_ms: int,
    minutes: str | None = None,
) -> tuple[Made, pa.Table]:
    """Make the bars that open at `open_ms`, where none that opens as late is kept yet, and note how far they are.

    Returns that and the bars, as they stand in the table.

    `complete` tells whether the run of their last parts is, `traded` how many symbols it has. One transaction. Raises
    duckdb.Error.
    """
    query, params = ending_query(resampling, open_ms, minutes)
    statement = _placed(queries("resample")["add"].sql.format(made=query), resampling)
    connection.execute("BEGIN")
    try:
        bars = connection.execute(statement, params | {"now": now_ms}).to_arrow_table()
        new = bars["symbol"].to_pylist()
        complete_ms = now_ms if complete else None
        whole = len(new) >= traded
        made = _note(connection, resampling, open_ms, new, len(new), complete_ms, now_ms, whole=whole)
        connection.execute("COMMIT")
    except duckdb.Error:
        roll_back(connection)
        raise
    return made, bars


def mend(
    connection: duckdb.DuckDBPyConnection,
    resampling: Resampling,
    bars: pa.Table,
    *,
    now_ms: int,
    complete: Collection[int] = (),
) -> tuple[list[Made], pa.Table | None]:
    """Keep `bars` (as `bars_query` gives them): those that are not there are added, the others corrected.

    Returns what was noted, and the bars that were added or corrected, as they stand in the table (None: no bars).

    Run times of which something is noted are noted anew where bars came; so are those in `complete`, run times
    (milliseconds) whose market is now complete. One transaction. Raises duckdb.Error.
    """
    length_ms = resampling.to.length_ms
    noting = {run_time_ms - length_ms for run_time_ms in complete}
    connection.execute("BEGIN")
    try:
        came: dict[int, list[str]] = {open_ms: [] for open_ms in noting}
        changed = _merge(connection, resampling, bars, now_ms)
        if changed is not None:
            added = changed.filter(pc.equal(changed["merge_action"], "INSERT"))
            opens = added["open_time"].cast(pa.int64()).to_pylist()  # microseconds, as DuckDB gives them
            for symbol, open_us in zip(added["symbol"].to_pylist(), opens, strict=True):
                came.setdefault(open_us // 1000, []).append(symbol)
        made = []
        if came:
            span = {"start": min(came) + length_ms, "end": max(came) + length_ms + 1}
            noted = _run(connection, "noted", resampling, span).fetchall()
            known = {run_time_ms - length_ms: (complete_ms, repaired) for run_time_ms, complete_ms, repaired in noted}
            for open_ms in sorted(came.keys() & (known.keys() | noting)):
                complete_ms, repaired = known.get(open_ms, (None, 0))
                if complete_ms is None and open_ms in noting:
                    complete_ms = now_ms
                new = came[open_ms]
                row = _run(connection, "ready", resampling, {"open_time": open_ms}).fetchone()
                ready = 0 if row is None else int(row[0])
                repaired += len(new)
                made.append(_note(connection, resampling, open_ms, new, ready, complete_ms, now_ms, repaired=repaired))
        connection.execute("COMMIT")
    except duckdb.Error:
        roll_back(connection)
        raise
    return made, None if changed is None else changed.drop_columns("merge_action")


def keep_all(
    connection: duckdb.DuckDBPyConnection,
    resampling: Resampling,
    start_ms: int,
    end_ms: int,
    *,
    now_ms: int,
    symbols: Collection[str] | None = None,
    piece: int,
) -> int:
    """Make and keep every bar that opens in [start, end), reading about `piece` parts at once; returns how many.

    For a file at rest: several transactions, each of them whole. Raises duckdb.Error.
    """
    create(connection, resampling, now_ms)
    minutes = minutes_feed(connection, resampling)
    row = connection.execute(_placed("SELECT count(DISTINCT symbol) FROM base.candles", resampling)).fetchone()
    number = max(1, row[0] if row else 1) if symbols is None else max(1, len(symbols))
    total = 0
    # The oldest first, so that the rows lie in the order of time.
    for span in reversed(list(resampling.spans(start_ms, end_ms, max(piece // number, resampling.parts)))):
        query, params = bars_query(resampling, *span, symbols=symbols, minutes=minutes)
        bars = connection.execute(f"{query} ORDER BY open_time, symbol", params).to_arrow_table()
        mend(connection, resampling, bars, now_ms=now_ms)
        total += bars.num_rows
    return total


def _merge(
    connection: duckdb.DuckDBPyConnection, resampling: Resampling, bars: pa.Table, now_ms: int
) -> pa.Table | None:
    """Keep bars; returns those that were added or corrected, with `merge_action` before their columns."""
    if not bars.num_rows:
        return None
    times = pc.min_max(bars["open_time"].cast(pa.int64()))
    # Microseconds, as DuckDB gives them.
    span = {"now": now_ms, "first": times["min"].as_py() // 1000, "last": times["max"].as_py() // 1000 + 1}
    connection.register("new_bars", bars)
    try:
        changed = _run(connection, "mend", resampling, span).to_arrow_table()
    finally:
        connection.unregister("new_bars")
    return changed if changed.num_rows else None


def _note(
    connection: duckdb.DuckDBPyConnection,
    resampling: Resampling,
    open_ms: int,
    new: Collection[str],
    ready: int,
    complete_ms: int | None,
    now_ms: int,
    *,
    whole: bool = False,
    repaired: int = 0,
) -> Made:
    """Write down who has a bar that opens at `open_ms`, and who lacks one; nobody where it is `whole`."""
    run_time_ms = open_ms + resampling.to.length_ms
    if new:
        _run(connection, "add_ready", resampling, {"run_time": run_time_ms, "symbols": list(new), "now": now_ms})
    missing: tuple[str, ...] = ()
    if not whole:
        span = {
            "start": open_ms,
            "end": run_time_ms,
            "length": resampling.to.length_ms,
            "step": resampling.feed.interval.length_ms,
            "parts": resampling.parts,
        }
        missing = tuple(symbol for (symbol,) in _run(connection, "lacking", resampling, span).fetchall())
    made = Made(run_time_ms, ready + len(missing), ready, missing, tuple(new), complete_ms, repaired)
    _run(connection, "clear_run", resampling, {"run_time": run_time_ms})
    values = {"run_time": run_time_ms, "expected": made.expected, "ready": ready, "complete_at": complete_ms}
    _run(connection, "add_run", resampling, values | {"repaired": repaired, "missing": list(missing)})
    return made


def drop_before(connection: duckdb.DuckDBPyConnection, resampling: Resampling, before_ms: int) -> None:
    """Let go of what opened, or was due, before a moment. Raises duckdb.Error."""
    for name in ("drop_before", "drop_status_before", "drop_runs_before"):
        _run(connection, name, resampling, {"before": before_ms})
