"""What the database answers, as the predecessor's frames: columns, types and index of what pandas reads back.

Made without pandas, which the recorder does without: the index is a column that the metadata of the file names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal

import pyarrow as pa

from bmacdb.model import CANDLE_VALUES, Market, SymbolInfo

__all__ = ["CANDLE_COLUMNS", "candle_table", "exginfo_table", "funding_table", "recorded_rules"]

CANDLE_COLUMNS = ("candle_begin_time", *CANDLE_VALUES)
_INDEX = "__index_level_0__"  # pandas' name for an index that has none
_UTC = pa.timestamp("ns", "UTC")
_CHINA = pa.timestamp("us", "Asia/Hong_Kong")
_DECIMALS = ("price_tick", "lot_size", "min_notional_value")
_EXGINFO_COLUMNS = ("symbol", "contract_type", "status", "base_asset", "quote_asset", "margin_asset", *_DECIMALS)
_SPOT_STEP = Decimal("0.00000001")


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
        kind = "datetimetz", f"datetime64[{field.type.unit}]", {"timezone": field.type.tz}
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


def recorded_rules(rows: pa.Table, market: Market) -> list[SymbolInfo]:
    """Trading rules out of the database, their decimals with the exchange's digits as far as they are known.

    On spot it prints eight. On futures they get what they need, and a column as a whole as many as its finest number.
    """

    def printed(value: Decimal | None) -> Decimal | None:
        if value is None:
            return None
        return value.quantize(_SPOT_STEP) if market is Market.SPOT else Decimal(f"{value.normalize():f}")

    return [SymbolInfo(**row | {name: printed(row[name]) for name in _DECIMALS}) for row in rows.to_pylist()]


def exginfo_table(rules: Iterable[SymbolInfo], market: Market) -> pa.Table:
    """Trading rules in their order, with the columns that the predecessor has for `market`; a range index.

    Decimals keep the digits that they have, as far as a column can: it has those of the finest.
    """
    dropped: tuple[str, ...] = {
        Market.SPOT: ("contract_type", "margin_asset"),
        Market.USDT_FUTURES: (),
        Market.COIN_FUTURES: ("min_notional_value",),
    }[market]
    rows = list(rules)
    columns = {name: [getattr(one, name) for one in rows] for name in _EXGINFO_COLUMNS if name not in dropped}
    return _ranged(
        pa.table(
            {name: pa.array(values, None if name in _DECIMALS else pa.string()) for name, values in columns.items()}
        )
    )


def funding_table(rows: pa.Table) -> pa.Table:
    """Running funding rates: symbol, fundingRate (DOUBLE, null where there is none), time (run time, UTC+8)."""
    columns = [rows["symbol"], rows["fundingRate"].cast(pa.float64()), rows["time"].cast(_CHINA)]
    return _ranged(pa.table(columns, names=["symbol", "fundingRate", "time"]))
