"""Two small proxies and the exchange's host names behind TLS: what stands between users and the exchange.

Certificates come from an authority of the test's own, which the recorder is told to trust (`SSL_CERT_FILE`).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import trustme

__all__ = ["Proxy", "http_proxy", "socks_proxy", "tls_hosts"]

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Proxy:
    """Where the proxy listens, where it leads (host and port -> port of this machine), and what it was asked for."""

    routes: Mapping[tuple[str, int], int]
    port: int = 0
    asked: list[tuple[str, int]] = field(default_factory=list)

    async def open(self, host: str, port: int) -> Stream | None:
        """The way to a host; None where the proxy does not let it through."""
        self.asked.append((host, port))
        to = self.routes.get((host, port))
        return None if to is None else await asyncio.open_connection("127.0.0.1", to)


@asynccontextmanager
async def _listening(handle: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    tasks: set[asyncio.Task[None]] = set()

    async def attend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await handle(reader, writer)
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(attend, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _join(near: Stream, far: Stream) -> None:
    """Carry bytes in both directions until both have ended."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.close()

    await asyncio.gather(carry(near[0], far[1]), carry(far[0], near[1]))


@asynccontextmanager
async def http_proxy(routes: Mapping[tuple[str, int], int]) -> AsyncIterator[Proxy]:
    """A proxy that knows CONNECT alone."""
    proxy = Proxy(routes)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split(" ", 2)
        host, _, port = target.rpartition(":")
        far = await proxy.open(host, int(port)) if method == "CONNECT" else None
        if far is None:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await _join((reader, writer), far)

    async with _listening(handle) as proxy.port:
        yield proxy


@asynccontextmanager
async def socks_proxy(routes: Mapping[tuple[str, int], int], *, password: str | None = None) -> AsyncIterator[Proxy]:
    """A SOCKS5 proxy (RFC 1928, and RFC 1929 with a password), which looks host names up itself."""
    proxy = Proxy(routes)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        method = 0 if password is None else 2
        writer.write(bytes([5, method if method in methods else 255]))
        if password is not None:
            _, length = await reader.readexactly(2)
            await reader.readexactly(length)
            (length,) = await reader.readexactly(1)
            good = await reader.readexactly(length) == password.encode()
            writer.write(bytes([1, not good]))
            if not good:
                return
        _, _, _, kind = await reader.readexactly(4)
        if kind == 3:
            (length,) = await reader.readexactly(1)
            host = (await reader.readexactly(length)).decode()
        else:
            host = socket.inet_ntoa(await reader.readexactly(4))
        (port,) = struct.unpack(">H", await reader.readexactly(2))
        far = await proxy.open(host, port)
        writer.write(bytes([5, 2 if far is None else 0, 0, 1]) + bytes(6))
        await writer.drain()
        if far is not None:
            await _join((reader, writer), far)

    async with _listening(handle) as proxy.port:
        yield proxy


async def _forbid(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 451 Unavailable For Legal Reasons\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    await writer.drain()


@asynccontextmanager
async def tls_hosts(hosts: Mapping[str, int | None], directory: Path) -> AsyncIterator[tuple[Path, dict[str, int]]]:
    """A port with the certificate of each host, which leads to a port of this machine (None: to HTTP 451).

    Yields the file of the authority to trust, and the ports by host.
    """
    authority = trustme.CA()
    trusted = directory / "authority.pem"
    authority.cert_pem.write_to_path(trusted)
    ports: dict[str, int] = {}
    async with AsyncExitStack() as stack:
        for host, to in hosts.items():
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            authority.issue_cert(host).configure_cert(context)

            async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: int | None = to) -> None:
                if to is None:
                    await _forbid(reader, writer)
                else:
                    await _join((reader, writer), await asyncio.open_connection("127.0.0.1", to))

            ports[host] = await stack.enter_async_context(_listening(lead, context))
        yield trusted, ports
