"""What a supervisor wants to hear: systemd's notify protocol (sd_notify(3)), which is a datagram to a socket.

Where nobody asks (`NOTIFY_SOCKET` is not set: a terminal, Docker, Windows) nothing is sent.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping

__all__ = ["Supervisor"]


class Supervisor:
    """The supervisor of this process as its environment names it."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self._address = environ.get("NOTIFY_SOCKET", "")
        mine = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = environ.get("WATCHDOG_USEC", "")
        self.every_s: float | None = int(usec) / 2_000_000 if mine and usec.isdecimal() and int(usec) else None
        """How often `alive` is wanted, in seconds of this machine; None: it is not."""

    def ready(self) -> None:
        """The recorder is up: its file is open and it listens."""
        self._send("READY=1")

    def alive(self, status: str) -> None:
        """It still works; `status` is one line for `systemctl status`."""
        self._send("WATCHDOG=1", f"STATUS={status}")

    def stopping(self) -> None:
        """It ends of itself."""
        self._send("STOPPING=1")

    def _send(self, *lines: str) -> None:
        family = getattr(socket, "AF_UNIX", None)
        if not self._address or family is None:
            return
        # An address that begins with @ is one of Linux's abstract sockets.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)  # a supervisor that does not read must not hold the recorder up
            sender.sendto("\n".join(lines).encode(), address)
