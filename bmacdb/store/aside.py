"""A call in a thread of its own, which its caller may stop waiting for."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

import duckdb

__all__ = ["aside"]

_T = TypeVar("_T")


def aside(work: Callable[[], _T], timeout: float | None) -> _T:
    """What `work` gives, or the duckdb.Error that it raises; TimeoutError after `timeout` seconds.

    A native call that waits for a network neither hears Ctrl-C nor ends in time. Here the caller does, and leaves the
    call to itself; it does not keep the program from ending.
    """
    future: Future[_T] = Future()

    def go() -> None:
        try:
            future.set_result(work())
        except duckdb.Error as error:
            future.set_exception(error)
        finally:
            if not future.done():
                future.set_exception(RuntimeError("an error that nobody foresaw: its traceback is above."))

    Thread(target=go, name="bmacdb-reader", daemon=True).start()
    return future.result(timeout)
