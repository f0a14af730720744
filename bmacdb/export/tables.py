"""What the database answers, as the predecessor's frames: columns, types and index of what pandas reads back.

Made without pandas, which the recorder does without: the index is a column that the metadata of the file names.
"""

from __future__ import annotations

import json
from decimal import Decimal

import pyarrow as pa

from bmacdb.model import Market

__all__ = ["CANDLE_COLUMNS", "candle_table", "exginfo_table", "funding_table"]

CANDLE_COLUMNS = (
    "candle_begin_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "trade_num",
    "taker_buy_base_asset_volume",
    "taker_buy_quote_asset_volume",
)
_INDEX = "__index_level_0__"  # pandas' name for an index that has none
_UTC = pa.timestamp("ns", "UTC")
_CHINA = pa.timestamp("ns", "+08:00")
_DECIMALS = ("price_tick", "lot_size", "min_notional_value")


def _described(table: pa.Table, index: str | dict[str, object]) -> pa.Table:
    """`table` with what pandas wants to know of it: an index column by name, or a range."""
    columns = [_column(field) for field in table.schema]
    about = {
        "index_columns": [index],
        "column_indexes": [],
        "columns": columns,
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.2.0",
    }
    return table.replace_schema_metadata({"pandas": json.dumps(about)})


def _column(field: pa.Field) -> dict[str, object]:
    kind: tuple[str, str, dict[str, object] | None]
    if pa.types.is_timestamp(field.type):
        kind = "datetimetz", "datetime64[ns]", {"timezone": field.type.tz}
    elif pa.types.is_floating(field.type):
        kind = "float64", "float64", None
    elif pa.types.is_decimal(field.type):
        kind = "decimal", "object", {"precision": field.type.precision, "scale": field.type.scale}
    else:
        kind = "unicode", "object", None
    name = None if field.name == _INDEX else field.name
    return {
        "name": name,
        "field_name": field.name,
        "pandas_type": kind[0],
        "numpy_type": kind[1],
        "metadata": kind[2],
    }


def _ranged(table: pa.Table) -> pa.Table:
    return _described(table, {"kind": "range", "name": None, "start": 0, "stop": table.num_rows, "step": 1})


def candle_table(rows: pa.Table, *, indexed: bool = True) -> pa.Table:
    """Candles of one symbol: candle_begin_time (ns, UTC) and nine DOUBLE columns, trade_num too.

    `rows` has these columns and `candle_end_time`, which becomes the unnamed index; without `indexed` it is dropped.
    """
    arrays = [rows["candle_begin_time"].cast(_UTC), *(rows[name].cast(pa.float64()) for name in CANDLE_COLUMNS[1:])]
    if not indexed:
        return _ranged(pa.table(arrays, names=list(CANDLE_COLUMNS)))
    arrays.append(rows["candle_end_time"].cast(_UTC))
    return _described(pa.table(arrays, names=[*CANDLE_COLUMNS, _INDEX]), _INDEX)


def exginfo_table(rows: pa.Table, market: Market) -> pa.Table:
    """Trading rules, with the columns that the predecessor has for `market`; a range index.

    Decimals get the digits that they need and no more.
    """
    dropped = {
        Market.SPOT: ("contract_type", "margin_asset"),
        Market.USDT_FUTURES: (),
        Market.COIN_FUTURES: ("min_notional_value",),
    }[market]
    table = rows.drop_columns(list(dropped)) if dropped else rows
    for place, name in enumerate(table.column_names):
        if name in _DECIMALS:
            table = table.set_column(place, name, _narrow(table[name]))
    return _ranged(table)


def _narrow(column: pa.ChunkedArray) -> pa.Array:
    values = [None if value is None else value.normalize() for value in column.to_pylist()]
    parts = [value.as_tuple() for value in values if value is not None]
    scale = max((max(0, -int(part.exponent)) for part in parts), default=0)
    whole = max((len(part.digits) + int(part.exponent) for part in parts), default=1)
    quantum = Decimal(1).scaleb(-scale)
    narrowed = [None if value is None else value.quantize(quantum) for value in values]
    return pa.array(narrowed, pa.decimal128(max(whole, 1) + scale, scale))


def funding_table(rows: pa.Table) -> pa.Table:
    """Running funding rates: symbol, fundingRate (DOUBLE, null where there is none), time (the run time, UTC+8)."""
    columns = [rows["symbol"], rows["fundingRate"].cast(pa.float64()), rows["time"].cast(_CHINA)]
    return _ranged(pa.table(columns, names=["symbol", "fundingRate", "time"]))
