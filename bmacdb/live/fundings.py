"""Settled fundings as they count within bars, with the values that a factor's statement gives."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bmacdb.factors.columns import FUNDING_COLUMNS, SETTLED_S

__all__ = ["Fundings"]

_US = 1_000_000
_ROW = np.dtype([("counts_ms", "i8"), ("time_us", "i8"), ("kind", "i4"), ("symbol", "i4"), ("rate", "f8")])


class Fundings:
    """The rows themselves, of any symbol and time: one that is settled may count in a bar that has not come yet."""

    def __init__(self) -> None:
        self._symbols: dict[str, int] = {}
        self._kinds: dict[str, int] = {}
        self._rows = np.empty(0, _ROW)

    def add(self, table: pa.Table) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
        """Take rows of the table `funding_rates`; of those with the same key the first stands.

        Returns of the new ones: from which instants on they count, in milliseconds, and their symbols.
        """
        rows = np.empty(table.num_rows, _ROW)
        rows["time_us"] = table.column("funding_time").cast(pa.int64()).to_numpy()
        # Settlements are stamped some milliseconds late.
        rows["counts_ms"] = (rows["time_us"] // _US + SETTLED_S) * 1000
        rows["rate"] = table.column("funding_rate").to_numpy()
        rows["symbol"] = _numbers(table.column("symbol"), self._symbols)
        rows["kind"] = _numbers(table.column("rate_type"), self._kinds)
        _, firsts = np.unique(_keys(rows), return_index=True)
        rows = rows[np.sort(firsts)]
        rows = rows[~np.isin(_keys(rows), _keys(self._rows))]
        self._rows = np.concatenate([self._rows, rows])
        names = list(self._symbols)
        return rows["counts_ms"], tuple(sorted(names[number] for number in np.unique(rows["symbol"])))

    def forget(self, before_ms: int) -> None:
        """Drop what counts before an instant."""
        self._rows = self._rows[self._rows["counts_ms"] >= before_ms]

    def write(
        self,
        columns: Mapping[str, npt.NDArray[Any]],
        bars: tuple[npt.NDArray[np.int64], int],
        symbols: Sequence[str],
        only: Collection[str] | None = None,
    ) -> None:
        """Write the cells of consecutive bars: `bars` are their open times and the end of the last.

        `columns`: those of FUNDING_COLUMNS, each (bars, symbols). `only`: of these symbols.
        """
        opens, end_ms = bars
        rows = self._rows
        rows = rows[(rows["counts_ms"] >= opens[0]) & (rows["counts_ms"] < end_ms)]
        place = np.full(len(self._symbols) + 1, -1)
        for column, symbol in enumerate(symbols):
            if only is None or symbol in only:
                place[self._symbols.get(symbol, -1)] = column
        place[-1] = -1
        column_of = place[rows["symbol"]]
        rows, column_of = rows[column_of >= 0], column_of[column_of >= 0]
        if not len(rows):
            return
        cells = (np.searchsorted(opens, rows["counts_ms"], side="right") - 1) * len(symbols) + column_of
        kinds = np.argsort(np.argsort(list(self._kinds)))[rows["kind"]]
        order = np.lexsort((kinds, rows["time_us"], cells))
        rows, cells = rows[order], cells[order]
        rates = rows["rate"]
        found, starts = np.unique(cells, return_index=True)
        counts = np.diff(starts, append=len(cells))
        # bincount adds one rate after the other, as SQL's list_sum does; reduceat would add pairs.
        sums = np.bincount(np.repeat(np.arange(len(found)), counts), weights=rates)
        for name, values in zip(FUNDING_COLUMNS, (rates[starts + counts - 1], sums, counts), strict=True):
            columns[name][np.divmod(found, len(symbols))] = values


def _keys(rows: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """A number for each key, of milliseconds, symbol and kind: stamps have no finer parts."""
    keys: npt.NDArray[np.int64] = (rows["time_us"] // 1000 << 20) + (rows["symbol"] << 4) + rows["kind"]
    return keys


def _numbers(texts: pa.ChunkedArray, known: dict[str, int]) -> npt.NDArray[np.int32]:
    """The number of each text in `known`, which is extended."""
    encoded = texts.combine_chunks().dictionary_encode()
    numbers = np.array([known.setdefault(text, len(known)) for text in encoded.dictionary.to_pylist()], np.int32)
    places: npt.NDArray[np.int32] = encoded.indices.to_numpy(zero_copy_only=False)
    return numbers[places]
