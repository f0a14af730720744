"""Rows as Arrow tables: how the values of a batch travel into DuckDB.

DuckDB scans a `Slot`, registered once under a name; what the slot holds is exchanged for each batch. (Registering a
table anew creates a view each time, which costs as much as a small statement.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from bmacdb.model import Candle, FundingRate, FundingSnapshot, Gap, Ready, Run, SymbolInfo
from bmacdb.store.precedence import Correction

__all__ = [
    "CORRECTION_SCHEMA",
    "SCHEMAS",
    "Slot",
    "candle_rows",
    "correction_rows",
    "exginfo_rows",
    "funding_rate_rows",
    "funding_snapshot_rows",
    "gap_rows",
    "ready_rows",
    "run_rows",
]

_TIME = pa.timestamp("us", tz="UTC")
_DECIMAL = pa.decimal128(38, 18)

_VALUES = [
    ("open", pa.float64()),
    ("high", pa.float64()),
    ("low", pa.float64()),
    ("close", pa.float64()),
    ("volume", pa.float64()),
    ("quote_volume", pa.float64()),
    ("trade_num", pa.int64()),
    ("taker_buy_base_asset_volume", pa.float64()),
    ("taker_buy_quote_asset_volume", pa.float64()),
    ("source", pa.string()),
]

SCHEMAS: dict[str, pa.Schema] = {
    "candles": pa.schema([("symbol", pa.string()), ("open_time", _TIME), *_VALUES, ("recorded_at", _TIME)]),
    "run_status": pa.schema([("run_time", _TIME), ("item", pa.string()), ("ready_at", _TIME), ("source", pa.string())]),
    "runs": pa.schema(
        [
            ("run_time", _TIME),
            ("expected", pa.int32()),
            ("ready", pa.int32()),
            ("complete_at", _TIME),
            ("last_item", pa.string()),
            ("repaired", pa.int32()),
            ("missing", pa.list_(pa.string())),
            ("state", pa.string()),
        ]
    ),
    "exginfo": pa.schema(
        [
            ("symbol", pa.string()),
            ("valid_from", _TIME),
            ("contract_type", pa.string()),
            ("status", pa.string()),
            ("base_asset", pa.string()),
            ("quote_asset", pa.string()),
            ("margin_asset", pa.string()),
            ("price_tick", _DECIMAL),
            ("lot_size", _DECIMAL),
            ("min_notional_value", _DECIMAL),
            ("onboard_date", _TIME),
            ("delivery_date", _TIME),
        ]
    ),
    "funding_rates": pa.schema(
        [
            ("symbol", pa.string()),
            ("funding_time", _TIME),
            ("rate_type", pa.string()),
            ("funding_rate", pa.float64()),
            ("mark_price", pa.float64()),
        ]
    ),
    "funding_snapshots": pa.schema(
        [
            ("run_time", _TIME),
            ("symbol", pa.string()),
            ("funding_rate", pa.float64()),
            ("next_funding_time", _TIME),
            ("mark_price", pa.float64()),
            ("index_price", pa.float64()),
        ]
    ),
    "gaps": pa.schema(
        [
            ("symbol", pa.string()),
            ("gap_start", _TIME),
            ("gap_end", _TIME),
            ("state", pa.string()),
            ("reason", pa.string()),
            ("found_at", _TIME),
            ("closed_at", _TIME),
        ]
    ),
}
"""Of each table of a feed that batches write, its columns in their order, as Arrow has them."""

CORRECTION_SCHEMA: pa.Schema = pa.schema(
    [
        ("symbol", pa.string()),
        ("open_time", _TIME),
        ("noticed_at", _TIME),
        ("recorded", pa.struct(_VALUES)),
        ("later", pa.struct(_VALUES)),
        ("stands", pa.string()),
    ]
)


class Slot:
    """A named place that DuckDB scans: whatever table it holds at that moment."""

    def __init__(self, schema: pa.Schema) -> None:
        self._empty = schema.empty_table()
        self._table = self._empty

    def __repr__(self) -> str:
        return f"<Slot rows={self._table.num_rows}>"

    def put(self, table: pa.Table) -> None:
        self._table = table

    def clear(self) -> None:
        """Let the rows go."""
        self._table = self._empty

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


def _times(ms: list[int]) -> Any:
    return pa.array([1000 * value for value in ms], pa.int64()).view(_TIME)


def _maybe_times(ms: list[int | None]) -> Any:
    return pa.array([None if value is None else 1000 * value for value in ms], pa.int64()).view(_TIME)


def _same_time(ms: int, rows: int) -> Any:
    return pa.repeat(pa.scalar(1000 * ms, pa.int64()), rows).view(_TIME)


def _floats(values: list[float] | list[float | None]) -> Any:
    return pa.array(values, pa.float64())


def _texts(values: Sequence[str | None]) -> Any:
    return pa.array(values, pa.string())


def _integers(values: list[int]) -> Any:
    return pa.array(values, pa.int32())


def _table(name: str, columns: list[Any]) -> pa.Table:
    return pa.Table.from_arrays(columns, schema=SCHEMAS[name])


def candle_rows(candles: Sequence[Candle], recorded_at_ms: int) -> pa.Table:
    """Rows of `candles`."""
    return _table(
        "candles",
        [
            _texts([candle.symbol for candle in candles]),
            _times([candle.open_time_ms for candle in candles]),
            _floats([candle.open for candle in candles]),
            _floats([candle.high for candle in candles]),
            _floats([candle.low for candle in candles]),
            _floats([candle.close for candle in candles]),
            _floats([candle.volume for candle in candles]),
            _floats([candle.quote_volume for candle in candles]),
            pa.array([candle.trade_num for candle in candles], pa.int64()),
            _floats([candle.taker_buy_base_asset_volume for candle in candles]),
            _floats([candle.taker_buy_quote_asset_volume for candle in candles]),
            _texts([candle.source for candle in candles]),
            _same_time(recorded_at_ms, len(candles)),
        ],
    )


def ready_rows(ready: Sequence[Ready]) -> pa.Table:
    """Rows of `run_status`."""
    return _table(
        "run_status",
        [
            _times([row.run_time_ms for row in ready]),
            _texts([row.item for row in ready]),
            _times([row.ready_at_ms for row in ready]),
            _texts([row.source for row in ready]),
        ],
    )


def run_rows(runs: Sequence[Run]) -> pa.Table:
    """Rows of `runs`."""
    return _table(
        "runs",
        [
            _times([run.run_time_ms for run in runs]),
            _integers([run.expected for run in runs]),
            _integers([run.ready for run in runs]),
            _maybe_times([run.complete_at_ms for run in runs]),
            _texts([run.last_item for run in runs]),
            _integers([run.repaired for run in runs]),
            pa.array([run.missing for run in runs], pa.list_(pa.string())),
            _texts([run.state for run in runs]),
        ],
    )


def exginfo_rows(infos: Sequence[SymbolInfo], valid_from_ms: int) -> pa.Table:
    """Rows of `exginfo`, all valid from the same moment."""
    return _table(
        "exginfo",
        [
            _texts([info.symbol for info in infos]),
            _same_time(valid_from_ms, len(infos)),
            _texts([info.contract_type for info in infos]),
            _texts([info.status for info in infos]),
            _texts([info.base_asset for info in infos]),
            _texts([info.quote_asset for info in infos]),
            _texts([info.margin_asset for info in infos]),
            pa.array([info.price_tick for info in infos], _DECIMAL),
            pa.array([info.lot_size for info in infos], _DECIMAL),
            pa.array([info.min_notional_value for info in infos], _DECIMAL),
            _maybe_times([info.onboard_ms for info in infos]),
            _maybe_times([info.delivery_ms for info in infos]),
        ],
    )


def funding_rate_rows(rates: Sequence[FundingRate]) -> pa.Table:
    """Rows of `funding_rates`."""
    return _table(
        "funding_rates",
        [
            _texts([rate.symbol for rate in rates]),
            _times([rate.funding_time_ms for rate in rates]),
            _texts([rate.rate_type for rate in rates]),
            _floats([rate.funding_rate for rate in rates]),
            _floats([rate.mark_price for rate in rates]),
        ],
    )


def funding_snapshot_rows(snapshots: Sequence[FundingSnapshot]) -> pa.Table:
    """Rows of `funding_snapshots`."""
    return _table(
        "funding_snapshots",
        [
            _times([row.run_time_ms for row in snapshots]),
            _texts([row.symbol for row in snapshots]),
            _floats([row.funding_rate for row in snapshots]),
            _maybe_times([row.next_funding_time_ms for row in snapshots]),
            _floats([row.mark_price for row in snapshots]),
            _floats([row.index_price for row in snapshots]),
        ],
    )


def gap_rows(gaps: Sequence[Gap]) -> pa.Table:
    """Rows of `gaps`."""
    return _table(
        "gaps",
        [
            _texts([gap.symbol for gap in gaps]),
            _times([gap.gap_start_ms for gap in gaps]),
            _times([gap.gap_end_ms for gap in gaps]),
            _texts([gap.state for gap in gaps]),
            _texts([gap.reason for gap in gaps]),
            _times([gap.found_at_ms for gap in gaps]),
            _maybe_times([gap.closed_at_ms for gap in gaps]),
        ],
    )


def correction_rows(corrections: Sequence[Correction], noticed_at_ms: int) -> pa.Table:
    """Rows of `corrections`."""

    def versions(candles: list[Candle]) -> Any:
        table = candle_rows(candles, noticed_at_ms).select([name for name, _ in _VALUES])
        return table.to_struct_array().combine_chunks()

    return pa.Table.from_arrays(
        [
            _texts([correction.recorded.symbol for correction in corrections]),
            _times([correction.recorded.open_time_ms for correction in corrections]),
            _same_time(noticed_at_ms, len(corrections)),
            versions([correction.recorded for correction in corrections]),
            versions([correction.later for correction in corrections]),
            _texts([correction.stands for correction in corrections]),
        ],
        schema=CORRECTION_SCHEMA,
    )
