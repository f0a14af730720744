"""What a query gives: an Arrow table, and the frames it turns into."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from bmacdb.errors import ReadError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

__all__ = ["Result"]


class Result:
    """The whole answer of a query, in memory; times are in UTC.

    Anything that takes Arrow takes it as it is (`polars.from_arrow(result)`, `pyarrow.table(result)`).
    """

    __slots__ = ("_table",)

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __repr__(self) -> str:
        return f"<Result {self._table.num_rows} rows: {', '.join(self._table.column_names)}>"

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """The rows, as tuples of Python values."""
        columns = [column.to_pylist() for column in self._table.columns]
        return iter(zip(*columns, strict=True))

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)

    @property
    def columns(self) -> list[str]:
        """The names, in order."""
        return list(self._table.column_names)

    def arrow(self) -> pa.Table:
        """The Arrow table itself, nothing copied."""
        return self._table

    def df(self) -> pd.DataFrame:
        """A pandas frame with a range index; TIMESTAMPTZ as datetime64[us, UTC]."""
        return self._table.to_pandas()

    def pl(self) -> pl.DataFrame:
        """A polars frame, nothing copied. Raises ReadError where polars is not installed."""
        try:
            import polars
        except ModuleNotFoundError as error:
            raise ReadError("polars is not installed: pip install 'bmacdb[polars]'.") from error
        frame = polars.from_arrow(self._table)
        assert isinstance(frame, polars.DataFrame)
        return frame

    def rows(self) -> list[tuple[Any, ...]]:
        """The rows, as tuples of Python values."""
        return list(self)

    def one(self) -> tuple[Any, ...] | None:
        """The first row; None where there is none."""
        return next(iter(self), None)
