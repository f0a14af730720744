"""Results: one table, five formats, to stdout or to a file that appears whole."""

from __future__ import annotations

import csv
import io
import json
import os
from contextlib import redirect_stdout
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bmacdb.cli.output import FORMATS, check_output, emit
from bmacdb.errors import Unwritable, UsageError

MOMENT = datetime(2026, 11, 23, 15, 10, tzinfo=UTC)
TABLE = pa.table(
    {
        "symbol": ["BTCUSDT", "币安人生USDT"],
        "open_time": pa.array([MOMENT, None], pa.timestamp("us", "UTC")),
        "close": [66538.2, float("nan")],
        "trade_num": pa.array([12, None], pa.int64()),
        "tick": pa.array([Decimal("0.0100"), None], pa.decimal128(38, 18)),
        "missing": pa.array([["A", "B"], []], pa.list_(pa.string())),
    }
)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_aligned_plain_text(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """Columns are aligned by what the eye sees, numbers to the right, nothing is drawn."""
    emit(TABLE)
    assert capsysbinary.readouterr().out.decode().splitlines() == [
        "symbol        open_time                    close  trade_num  tick  missing",
        "BTCUSDT       2026-11-23 15:10:00+00:00  66538.2         12  0.01  A, B",
        "币安人生USDT                                 nan",
    ]


def test_tables_for_eyes_are_in_the_zone_that_was_asked_for(tmp_path: Path) -> None:
    """With its offset, the same in all cells, on the console and in a file; what programs read stays in UTC."""
    zone = ZoneInfo("Asia/Shanghai")
    emit(TABLE, "table", tmp_path / "t.txt", zone=zone)
    assert "2026-11-23 23:10:00+08:00" in (tmp_path / "t.txt").read_text("utf-8")
    for format in ("csv", "json"):
        emit(TABLE, format, tmp_path / "t", zone=zone)
        assert "2026-11-23T15:10:00+00:00" in (tmp_path / "t").read_text("utf-8")


def test_a_terminal_gets_a_drawn_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same cells, drawn."""
    monkeypatch.setenv("COLUMNS", "200")
    terminal = Terminal()
    with redirect_stdout(terminal):
        emit(TABLE)
    assert "币安人生USDT" in terminal.getvalue()
    assert "┃" in terminal.getvalue()


def test_a_narrow_terminal_gets_whole_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the drawn table does not fit, aligned lines are printed and nothing is cut."""
    monkeypatch.setenv("COLUMNS", "40")
    terminal = Terminal()
    with redirect_stdout(terminal):
        emit(TABLE)
    assert "2026-11-23 15:10:00+00:00" in terminal.getvalue()
    assert "┃" not in terminal.getvalue()


def test_a_terminal_is_not_flooded(capsys: pytest.CaptureFixture[str]) -> None:
    """Beyond a thousand rows a terminal gets the number of the rest; a pipe gets all rows."""
    long = pa.table({"n": list(range(1500))})
    terminal = Terminal()
    with redirect_stdout(terminal):
        emit(long)
    assert "999" in terminal.getvalue()
    assert "1000" not in terminal.getvalue()
    assert "500 more rows" in capsys.readouterr().err
    emit(long)
    assert len(capsys.readouterr().out.splitlines()) == 1501


def test_json_is_one_array_of_objects(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """Times are ISO in UTC, what is no number is null, decimals are numbers, lists stay lists."""
    emit(TABLE, "json")
    rows = json.loads(capsysbinary.readouterr().out)
    assert rows[0] == {
        "symbol": "BTCUSDT",
        "open_time": "2026-11-23T15:10:00+00:00",
        "close": 66538.2,
        "trade_num": 12,
        "tick": 0.01,
        "missing": ["A", "B"],
    }
    assert rows[1]["close"] is None
    assert rows[1]["symbol"] == "币安人生USDT"


def test_an_empty_table_is_an_empty_array(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """Programs that parse JSON get JSON, and people get the header."""
    emit(TABLE.slice(0, 0), "json")
    assert json.loads(capsysbinary.readouterr().out) == []
    emit(TABLE.slice(0, 0), "table")
    assert capsysbinary.readouterr().out.startswith(b"symbol")


def test_csv_reads_back(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """ISO times, lists as JSON, UTF-8 whatever the console."""
    emit(TABLE, "csv")
    out = capsysbinary.readouterr().out.decode()
    rows = list(csv.reader(io.StringIO(out)))
    assert rows[1] == ["BTCUSDT", "2026-11-23T15:10:00+00:00", "66538.2", "12", "0.01", '["A", "B"]']
    assert rows[2][:2] == ["币安人生USDT", ""]
    emit(TABLE.select(["symbol", "close"]), "csv")
    assert capsysbinary.readouterr().out.decode().splitlines()[:2] == ["symbol,close", "BTCUSDT,66538.2"]


def test_files_hold_what_was_given(tmp_path: Path) -> None:
    """Parquet and Arrow keep types and values; nothing temporary is left."""
    emit(TABLE, "parquet", tmp_path / "t.parquet")
    emit(TABLE, "arrow", tmp_path / "t.arrow")
    assert pq.read_table(tmp_path / "t.parquet").schema.equals(TABLE.schema)
    with pa.ipc.open_file(tmp_path / "t.arrow") as reader:
        assert reader.read_all().column("symbol").equals(TABLE.column("symbol"))
    assert sorted(os.listdir(tmp_path)) == ["t.arrow", "t.parquet"]


def test_pipes_get_bytes(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """Into a pipe Arrow is a stream and Parquet a whole file."""
    emit(TABLE, "arrow")
    assert pa.ipc.open_stream(capsysbinary.readouterr().out).read_all().num_rows == 2
    emit(TABLE, "parquet")
    assert pq.read_table(io.BytesIO(capsysbinary.readouterr().out)).num_rows == 2


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """A result that cannot be finished replaces nothing and leaves nothing temporary."""
    target = tmp_path / "t.parquet"
    target.write_text("old")
    broken = pa.table({"x": pa.array([{}], pa.struct([]))})  # parquet cannot hold a struct without fields
    with pytest.raises(pa.ArrowNotImplementedError):
        emit(broken, "parquet", target)
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["t.parquet"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind here")
def test_a_directory_without_permission_is_told(tmp_path: Path) -> None:
    """The error names the file."""
    tmp_path.chmod(0o500)
    with pytest.raises(Unwritable, match=r"t\.csv"):
        emit(TABLE, "csv", tmp_path / "t.csv")


def test_bytes_are_not_thrown_at_a_terminal() -> None:
    """Parquet and Arrow on a terminal are refused with the remedy."""
    terminal = Terminal()
    for format in ("parquet", "arrow"):
        with redirect_stdout(terminal), pytest.raises(UsageError, match="-o FILE"):
            emit(TABLE, format)
    assert terminal.getvalue() == ""


def test_what_cannot_be_written_is_refused_before_work(tmp_path: Path) -> None:
    """A wrong format has its nearest, a file needs a directory that exists."""
    with pytest.raises(UsageError, match="Did you mean parquet"):
        check_output("parket", None)
    with pytest.raises(UsageError, match="does not exist"):
        check_output("csv", tmp_path / "no" / "t.csv")
    with pytest.raises(UsageError, match="is a directory"):
        check_output("csv", tmp_path)
    for format in FORMATS:
        check_output(format, tmp_path / "t")
