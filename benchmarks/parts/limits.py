"""What the machine allows: putting a block on the disk, parsing JSON, reading memory, going round on loopback.

Other parts take these in their own run, for a machine that others use is not the same a minute later.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import msgspec
import numpy as np

from benchmarks.measured import Row, alternate, millis

__all__ = ["fsync_ms", "json_ms_per_mb", "loopback_ms", "measure", "memory_ms_per_mb"]

COLUMNS = 11
ROWS = 900_000  # 600 symbols x 1500 bars


def fsync(folder: Path, size: int, times: int) -> list[float]:
    path = folder / "limit.bin"
    block = os.urandom(size)
    with path.open("wb", buffering=0) as file:

        def once() -> None:
            file.write(block)
            os.fsync(file.fileno())

        found = [millis(once) for _ in range(times)]
    path.unlink()
    return found


def fsync_ms(folder: Path, size: int = 65_536, times: int = 25) -> float:
    """Milliseconds to append so many bytes to a file and have them on the disk."""
    return median(fsync(folder, size, times))


def page() -> bytes:
    """A page of klines as REST has them: 499 rows of 12 values, most of them text."""
    row = [1_795_000_020_000, "64012.10", "64050.30", "63990.20", "64010.00", "123.456", 1_795_000_079_999]
    return json.dumps([[*row, "7901234.56789", 33, "60.123", "3850000.12345", "0"]] * 499).encode()


def parsing(times: int) -> list[float]:
    body = page()
    decoder = msgspec.json.Decoder()
    return [millis(lambda: decoder.decode(body)) / (len(body) / 1e6) for _ in range(times)]


def json_ms_per_mb(times: int = 25) -> float:
    """Milliseconds to parse a megabyte of klines into lists and nothing more."""
    return median(parsing(times))


def touching(times: int) -> list[float]:
    columns = np.random.default_rng(1).random((COLUMNS, ROWS))
    return [millis(lambda: columns.sum(axis=1)) / (columns.nbytes / 1e6) for _ in range(times)]


def memory_ms_per_mb(times: int = 9) -> float:
    """Milliseconds for one core to read a megabyte of the columns of 600 x 1500 bars (their sums)."""
    return median(touching(times))


def echo(pipe: Connection) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        pipe.send(server.getsockname()[1])
        peer, _ = server.accept()
        with peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while taken := peer.recv(4096):
                peer.sendall(taken)


def going_round(times: int) -> list[float]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    other = context.Process(target=echo, args=(there,), daemon=True)
    other.start()
    with socket.create_connection(("127.0.0.1", here.recv())) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def once() -> None:
            peer.sendall(b"x" * 100)
            peer.recv(4096)

        found = [millis(once) for _ in range(times)]
    other.join()
    return found


def loopback_ms(times: int = 300) -> float:
    """Milliseconds for 100 bytes to another process and back."""
    return median(going_round(times))


def measure(full: bool, folder: Path) -> Iterator[Row]:
    """The limits, for themselves."""
    times = 200 if full else 40
    yield Row("limits", "append 64 KB and fsync", "ms", tuple(fsync(folder, 65_536, times)))
    yield Row("limits", "append 512 bytes and fsync", "ms", tuple(fsync(folder, 512, times)))
    body = page()
    parsed = alternate({"msgspec": lambda: msgspec.json.decode(body), "json.loads": lambda: json.loads(body)}, times)
    rates = {name: tuple(len(body) / 1e3 / one for one in values) for name, values in parsed.items()}
    work = "parse a page of 499 klines (msgspec, nothing made of it)"
    yield Row("limits", work, "MB/s", rates["msgspec"], {"json.loads": rates["json.loads"]}, True)
    work = f"read {COLUMNS} columns of 600 × 1500 bars, one core"
    yield Row("limits", work, "GB/s", tuple(1 / one for one in touching(times)), more_is_better=True)
    yield Row("limits", "100 bytes to another process and back", "ms", tuple(going_round(10 * times)))
