"""The archive over HTTP: listings, checksums, and files that go on where they broke off."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlsplit

import aiohttp

from bmacdb.archive.listing import Entry, Page, parse_listing
from bmacdb.clock import Clock
from bmacdb.errors import Blocked, ExchangeError, Malformed, Rejected, Unreachable, Unwritable, UsageError
from bmacdb.exchange.endpoints import Endpoints
from bmacdb.exchange.rest import retrying

__all__ = ["ATTEMPTS", "ArchiveClient", "ArchiveUrls"]

ATTEMPTS = 6
"""How often a request is tried before it is given up; pauses between grow from half a second to 15."""

_FILES = "https://data.binance.vision"
_LISTING = "https://s3-ap-northeast-1.amazonaws.com/data.binance.vision"
_MOST_BYTES = 8 << 20  # of a listing; a page of a thousand keys is 300 kB
_CHUNK = 1 << 18
_CHECKSUM = re.compile(r"([0-9a-fA-F]{64})(?:\s.*)?", re.DOTALL)

T = TypeVar("T")
Told = Callable[[ExchangeError, float], None]


@dataclass(frozen=True, slots=True)
class ArchiveUrls:
    """Where the archive's files are, and where its bucket is listed; `base` replaces both.

    Raises UsageError for what is no http URL.
    """

    base: str | None = None

    def __post_init__(self) -> None:
        if self.base is None:
            return
        try:
            parts = urlsplit(self.base.strip())
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good or parts.query or parts.fragment or parts.username:
            raise UsageError(
                f"--archive-url {self.base.rpartition('@')[2]!r} is no address like https://host or https://host/path "
                "(without user, query and fragment)."
            )
        object.__setattr__(self, "base", self.base.strip().rstrip("/"))

    def file(self, key: str) -> str:
        return f"{self.base or _FILES}/{quote(key)}"

    @property
    def endpoints(self) -> Endpoints | None:
        """Where requests go, for the session to know whether they leave this machine; None for the real archive."""
        if self.base is None:
            return None
        parts = urlsplit(self.base)
        return Endpoints(f"{parts.scheme}://{parts.netloc}", f"ws://{parts.netloc}")

    @property
    def loopback(self) -> bool:
        """Whether the archive is on this machine: no proxy could reach it."""
        return self.endpoints is not None and self.endpoints.is_loopback()

    @property
    def listing(self) -> str:
        return self.base or _LISTING


class ArchiveClient:
    """Reads the archive. Each method tries again what may succeed later, and raises one of ExchangeError's kinds."""

    def __init__(
        self,
        urls: ArchiveUrls,
        *,
        session: aiohttp.ClientSession,
        clock: Clock,
        timeout_s: float = 20.0,
        attempts: int = ATTEMPTS,
        proxy: str | None = None,
        told: Told | None = None,
    ) -> None:
        """`timeout_s` is how long the archive may be silent; `told` hears of failures that are tried again."""
        self._urls, self._session, self._clock, self._attempts = urls, session, clock, attempts
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=timeout_s, sock_read=timeout_s)
        self._proxy, self._told = proxy, told

    def __repr__(self) -> str:
        return f"<ArchiveClient {self._urls.listing}>"

    async def names(self, prefix: str) -> list[str]:
        """The folders right below `prefix`, without it and without slashes."""
        return [
            group.removeprefix(prefix).rstrip("/")
            async for page in self._pages(prefix, folders=True)
            for group in page.prefixes
        ]

    async def entries(self, prefix: str, *, after: str = "") -> list[Entry]:
        """Every object below `prefix` whose key sorts behind `after`."""
        return [entry async for page in self._pages(prefix, folders=False, after=after) for entry in page.entries]

    async def _pages(self, prefix: str, *, folders: bool, after: str = "") -> AsyncIterator[Page]:
        marker: str | None = after
        while marker is not None:
            params = (
                {"prefix": prefix} | ({"delimiter": "/"} if folders else {}) | ({"marker": marker} if marker else {})
            )
            page = await self._retrying(partial(self._listing, params))
            if page.marker is not None and marker and page.marker <= marker:
                raise Malformed(f"the archive's listing of {prefix} goes in circles at {page.marker}.")
            yield page
            marker = page.marker

    async def _listing(self, params: dict[str, str]) -> Page:
        what = f"archive listing {params['prefix']}"
        with _translated(what):
            async with self._get(self._urls.listing, params=params) as response:
                _check(what, response)
                body = await response.content.read(_MOST_BYTES)
                while len(body) < _MOST_BYTES and (more := await response.content.read(_MOST_BYTES - len(body))):
                    body += more
        return parse_listing(body)

    async def checksum(self, key: str) -> str | None:
        """The published SHA-256 of a file, in lower case; None when none is published."""
        what = f"archive {key}.CHECKSUM"

        async def ask() -> str:
            with _translated(what):
                async with self._get(self._urls.file(f"{key}.CHECKSUM")) as response:
                    _check(what, response)
                    text = (await response.content.read(4096)).decode("utf-8", "replace").strip()
            found = _CHECKSUM.fullmatch(text)
            if found is None:
                raise Malformed(f"{what} is no SHA-256: {text[:80]!r}")
            return found[1].lower()

        try:
            return await self._retrying(ask)
        except Rejected as error:
            if error.code == 404:
                return None
            raise

    async def fetch(self, key: str, part: Path, *, etag: str = "", got: Callable[[int], None] | None = None) -> str:
        """Fetch a file to `part`, going on from what is there already; returns its SHA-256.

        With `etag` it goes on only with the same content. `got` is told of bytes as they come (negative when what
        was there turned out to be of no use). Raises Unwritable as well.
        """
        return await self._retrying(lambda: self._fetch(key, part, etag, got or (lambda _: None)))

    async def _fetch(self, key: str, part: Path, etag: str, got: Callable[[int], None]) -> str:
        what = f"archive {key}"
        digest, have = hashlib.sha256(), 0
        try:
            with part.open("ab+") as file:
                file.seek(0)
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
                    have += len(chunk)
                headers = {"Range": f"bytes={have}-"} | ({"If-Range": f'"{etag}"'} if etag else {}) if have else {}
                with _translated(what):
                    async with self._get(self._urls.file(key), headers=headers) as response:
                        if have and response.status == 416:  # it has all of it, or more than there is
                            if response.headers.get("Content-Range", "") == f"bytes */{have}":
                                return digest.hexdigest()
                            file.truncate(0)
                            got(-have)
                            raise Unreachable(f"{what}: the part that was here is not of this file; starting over")
                        _check(what, response)
                        if response.status != 206 and have:  # the file from its beginning
                            file.truncate(0)
                            got(-have)
                            digest = hashlib.sha256()
                        async for chunk in response.content.iter_chunked(_CHUNK):
                            file.write(chunk)
                            digest.update(chunk)
                            got(len(chunk))
        except OSError as error:
            raise Unwritable(
                f"{part} cannot be written: {error.strerror or error}. Make room, or give --mirror."
            ) from error
        return digest.hexdigest()

    def _get(
        self, url: str, *, params: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> aiohttp.client._RequestContextManager:
        # As it is stored: a length and a range mean the bytes of the file.
        headers = {"Accept-Encoding": "identity"} | (headers or {})
        return self._session.get(url, params=params, headers=headers, timeout=self._timeout, proxy=self._proxy)

    async def _retrying(self, ask: Callable[[], Awaitable[T]]) -> T:
        return await retrying(ask, clock=self._clock, attempts=self._attempts, told=self._told)


def _check(what: str, response: aiohttp.ClientResponse) -> None:
    """Raise what an answer without content means."""
    status = response.status
    if status in (200, 206):
        return
    if status in (403, 451):
        raise Blocked(
            f"{what}: the archive does not serve this address (HTTP {status}). Try a proxy, or --archive-url."
        )
    if status == 404:
        raise Rejected(f"{what}: the archive has no such file (HTTP 404).", code=404)
    if status >= 500 or status in (408, 425, 429):
        raise Unreachable(f"{what}: HTTP {status}")
    raise Rejected(f"{what}: HTTP {status}: is --archive-url right?", code=status)


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except aiohttp.ClientPayloadError as error:
        raise Unreachable(f"{what}: the connection broke before its end") from error
    except TimeoutError as error:
        raise Unreachable(f"{what}: no answer in time") from error
    except (aiohttp.ClientError, ConnectionError) as error:
        raise Unreachable(f"{what}: cannot reach the archive ({type(error).__name__})") from error
