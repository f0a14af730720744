"""SQL factors across the market: ranks and scores of other factors at each run time, of all symbols."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd
import pyarrow as pa

from bmacdb.factor.call import Call
from bmacdb.factor.lists import scratch
from bmacdb.factor.template import Bound

__all__ = ["compare"]


def compare(frame: pd.DataFrame, crosses: Sequence[tuple[Bound, Call]]) -> pd.DataFrame:
    """A column for each cross, of `frame`: symbol, open_ms, and the columns of the calls that are compared."""
    lists, values = [], []
    columns = {"symbol": pa.array(frame["symbol"]), "k": frame["open_ms"].to_numpy(), "place": range(len(frame))}
    for number, (bound, of) in enumerate(crosses):
        value = f"f{number}"
        columns[value] = pa.array(frame[of.column].to_numpy(), from_pandas=True)
        # In the order of symbols, so that sums come out alike every time.
        lists.append(f"list({value} ORDER BY symbol) FILTER ({value} IS NOT NULL) AS m{number}")
        text = re.sub(r"\bvalue\b", value, re.sub(r"\bmarket\b", f"m{number}", bound.expression))
        values.append(f"CASE WHEN {value} IS NOT NULL THEN ({text})::DOUBLE END AS c{number}")
    finite = ", ".join(f"CASE WHEN isfinite(c{n}) THEN c{n} END AS c{n}" for n in range(len(crosses)))
    with scratch().cursor() as cursor:
        cursor.register("kept", pa.table(columns))
        found = cursor.execute(
            f"WITH markets AS (SELECT k, {', '.join(lists)} FROM kept GROUP BY k), "
            f"crossed AS (SELECT place, {', '.join(values)} FROM kept JOIN markets USING (k)) "
            f"SELECT {finite} FROM crossed ORDER BY place"
        ).to_arrow_table()
    return pd.DataFrame(
        {bound.call.column: found.column(number).to_numpy() for number, (bound, _) in enumerate(crosses)},
        index=frame.index,
    )
