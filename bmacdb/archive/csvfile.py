"""Files as they lie on the disk (zip, csv, csv.gz): the bytes of their one table."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from pathlib import Path

from bmacdb.errors import Malformed

__all__ = ["ENDINGS", "csv_of", "whole"]

ENDINGS = (".zip", ".csv", ".csv.gz")

_MOST_BYTES = 4 << 30  # a month of seconds is 350 MB; more than this is no file of the archive


def csv_of(path: Path) -> bytes:
    """The table in a file, as text. Raises Malformed for what is damaged or something else."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Malformed(f"{path} cannot be read: {error.strerror}.") from error
    try:
        if path.name.endswith(".zip"):
            return _unzipped(path, data)
        return gzip.decompress(data) if path.name.endswith(".gz") else data
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise Malformed(f"{path} is damaged: {error}. Fetch it anew.") from error


def _unzipped(path: Path, data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        inside = [info for info in archive.infolist() if not info.is_dir() and info.filename.endswith(".csv")]
        if len(inside) != 1:
            names = ", ".join(info.filename for info in archive.infolist()[:5]) or "nothing"
            raise Malformed(f"{path} holds {names}, where one csv file is expected.")
        if inside[0].file_size > _MOST_BYTES:
            raise Malformed(f"{path} would unpack to {inside[0].file_size} bytes: that is no file of the archive.")
        return archive.read(inside[0])


def whole(path: Path) -> bool:
    """Whether a file unpacks without a fault of its own."""
    try:
        csv_of(path)
    except Malformed:
        return False
    return True
