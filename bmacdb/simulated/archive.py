"""The stand-in's archive: the files of data.binance.vision, made when they are asked for.

Keys, zips, checksums and the bucket's XML listing are as the real one has them: files of a day appear the morning
after, those of a month on the first of the next; spot has no header, and microseconds since 2025; futures have a header
since July 2022. Sizes in listings are estimates, for a file is made when it is fetched. What goes wrong is set on the
object (`wrong_checksums`, `replaced`, `breaks`, `missing`).
"""

from __future__ import annotations

import asyncio
import io
import zipfile
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from hashlib import md5, sha256
from xml.sax.saxutils import escape

from aiohttp import web

from bmacdb.clock import Clock, from_ms
from bmacdb.interval import DAY_MS, HOUR_MS, INTERVALS, MINUTE_MS
from bmacdb.model import Market
from bmacdb.simulated.encode import rows_json
from bmacdb.simulated.funding import settled_history
from bmacdb.simulated.generate import Numbers
from bmacdb.simulated.listing import Instrument, funding_hours
from bmacdb.simulated.universe import Universe, grid

__all__ = ["SimulatedArchive"]

_ROOTS = {"spot": Market.SPOT, "futures/um": Market.USDT_FUTURES, "futures/cm": Market.COIN_FUTURES}
_MICROSECONDS_MS = 1_735_689_600_000  # 2025-01-01: spot files count microseconds from here on
_HEADERS_MS = 1_656_633_600_000  # 2022-07-01: futures files have a header from here on
_HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)
_FUNDING_HEADER = "calc_time,funding_interval_hours,last_funding_rate"
_MORNING_MS = 8 * HOUR_MS + 30 * MINUTE_MS
_PAGE = 1000
_ZIP_DATE = (2020, 1, 1, 0, 0, 0)


def _month(index: int) -> int:
    return round(from_ms(0).replace(year=index // 12, month=index % 12 + 1).timestamp() * 1000)


def _month_index(ms: int) -> int:
    return 12 * from_ms(ms).year + from_ms(ms).month - 1


class SimulatedArchive:
    """Answers below `/archive`. Faults: keys in `wrong_checksums` have one that is not theirs; the content of a key in
    `replaced` is another one (its number counts); a connection that fetches a key in `breaks` breaks after so many
    bytes, once; keys in `missing` are not there."""

    def __init__(self, universe: Universe, clock: Clock) -> None:
        self._universe, self._clock = universe, clock
        self.wrong_checksums: set[str] = set()
        self.replaced: dict[str, int] = {}
        self.breaks: dict[str, int] = {}
        self.missing: set[str] = set()
        self.page_rows = _PAGE
        self.requests: list[tuple[str, str]] = []
        """(path or prefix, Range header) of what was asked for."""
        self._file = lru_cache(maxsize=64)(self._make)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/archive", self._list),
            web.get("/archive/", self._list),
            web.get("/archive/{key:.+}", self._get),
        ]

    # What there is

    def _periods(self, instrument: Instrument, cadence: str) -> Iterator[tuple[int, int]]:
        """(start, end) of the days or months in which the symbol traded, and which have been published."""
        now_ms = self._clock.now_ms()
        for life in instrument.lives:
            last_ms = min(now_ms, life.end_ms or now_ms) - 1
            if cadence == "monthly":
                for index in range(_month_index(life.onboard_ms), _month_index(last_ms) + 1):
                    start, end = _month(index), _month(index + 1)
                    if end + _MORNING_MS <= now_ms:
                        yield start, end
            else:
                for start in range(life.onboard_ms // DAY_MS * DAY_MS, last_ms + 1, DAY_MS):
                    if start + DAY_MS + _MORNING_MS <= now_ms:
                        yield start, start + DAY_MS

    def _names(self, instrument: Instrument, cadence: str, what: str) -> list[str]:
        shape = "%Y-%m-%d" if cadence == "daily" else "%Y-%m"
        stems = dict.fromkeys(
            f"{instrument.symbol}-{what}-{from_ms(start):{shape}}.zip"
            for start, _ in self._periods(instrument, cadence)
        )
        return sorted(name for stem in stems for name in (stem, stem + ".CHECKSUM"))

    def _keys(self, prefix: str) -> list[str]:
        """The keys below a prefix of at least `data/MARKET/CADENCE/KIND/SYMBOL/`, in order."""
        found = self._place(prefix)
        if found is None:
            return []
        market, cadence, kind, rest = found
        symbol, _, inner = rest.partition("/")
        instrument = next((one for one in self._universe.instruments(market) if one.symbol == symbol), None)
        if instrument is None or instrument.pending:
            return []
        base = prefix[: len(prefix) - len(inner)]
        if kind == "fundingRate":
            wanted = [""] if cadence == "monthly" and funding_hours(instrument) else []
            keys = [f"{base}{name}" for _ in wanted for name in self._names(instrument, cadence, "fundingRate")]
        else:
            names = [name.replace("M", "mo") for name in INTERVALS if grid(name, market) is not None]
            keys = [
                f"{base}{name}/{file}"
                for name in names
                if name == inner.partition("/")[0] or ("/" not in inner and name.startswith(inner))
                for file in self._names(instrument, cadence, name)
            ]
        return sorted(
            key for key in keys if key.startswith(prefix) and key.removesuffix(".CHECKSUM") not in self.missing
        )

    def _there(self, key: str) -> bool:
        """Whether a zip exists."""
        found = self._place(key)
        if found is None or key in self.missing:
            return False
        market, cadence, kind, rest = found
        symbol, *inner, name = rest.split("/")
        instrument = next((one for one in self._universe.instruments(market) if one.symbol == symbol), None)
        what = inner[0] if len(inner) == 1 else "fundingRate"
        if instrument is None or (kind == "klines") != bool(inner) or not name.startswith(f"{symbol}-{what}-"):
            return False
        try:
            period = _period_of(key)
        except ValueError:
            return False
        return any(one == period for one in self._periods(instrument, cadence))

    @staticmethod
    def _place(prefix: str) -> tuple[Market, str, str, str] | None:
        for root, market in _ROOTS.items():
            parts = prefix.removeprefix(f"data/{root}/").split("/", 2)
            if prefix.startswith(f"data/{root}/") and len(parts) == 3:
                cadence, kind, rest = parts
                if cadence in ("daily", "monthly") and kind in ("klines", "fundingRate"):
                    return market, cadence, kind, rest
        return None

    def _folders(self, prefix: str) -> list[str]:
        found = self._place(prefix)
        if found is None:
            return []
        market, cadence, kind, rest = found
        if not rest:
            return sorted(
                f"{prefix}{one.symbol}/"
                for one in self._universe.instruments(market)
                if not one.pending
                and any(True for _ in self._periods(one, cadence))
                and (kind == "klines" or (cadence == "monthly" and funding_hours(one)))
            )
        return sorted({"/".join(key.split("/")[:-1]) + "/" for key in self._keys(prefix)} - {prefix})

    # Listings

    async def _list(self, request: web.Request) -> web.Response:
        query = request.query
        prefix, marker = query.get("prefix", ""), query.get("marker", "")
        self.requests.append((prefix, ""))
        rows = min(self.page_rows, int(query.get("max-keys", self.page_rows)))
        keys, folders = self._keys(prefix), []
        if query.get("delimiter") == "/":
            folders = self._folders(prefix)
            keys = [key for key in keys if "/" not in key[len(prefix) :]]
        everything = sorted([*keys, *folders])
        start = bisect_right(everything, marker)
        page = everything[start : start + rows]
        more = start + rows < len(everything)
        parts = [
            '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">',
            f"<Name>data.binance.vision</Name><Prefix>{escape(prefix)}</Prefix><Marker>{escape(marker)}</Marker>",
        ]
        if more and folders:
            parts.append(f"<NextMarker>{escape(page[-1])}</NextMarker>")
        parts.append(f"<MaxKeys>{rows}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>")
        for key in page:
            if key.endswith("/"):
                parts.append(f"<CommonPrefixes><Prefix>{escape(key)}</Prefix></CommonPrefixes>")
                continue
            stamp = f"{from_ms(self._modified_ms(key)):%Y-%m-%dT%H:%M:%S}.000Z"
            parts.append(
                f"<Contents><Key>{escape(key)}</Key><LastModified>{stamp}</LastModified>"
                f"<ETag>&quot;{self._etag(key)}&quot;</ETag><Size>{92 if key.endswith('M') else 60_000}</Size>"
                "<StorageClass>STANDARD</StorageClass></Contents>"
            )
        parts.append("</ListBucketResult>")
        return web.Response(text="".join(parts), content_type="application/xml")

    def _modified_ms(self, key: str) -> int:
        key = key.removesuffix(".CHECKSUM")
        _, end = _period_of(key)
        return end + _MORNING_MS + self.replaced.get(key, 0) * DAY_MS

    def _etag(self, key: str) -> str:
        number = self.replaced.get(key.removesuffix(".CHECKSUM"), 0)
        return md5(f"{key}{number}{self._universe.seed}".encode(), usedforsecurity=False).hexdigest()

    # Files

    async def _get(self, request: web.Request) -> web.StreamResponse:
        key, asked = request.match_info["key"], request.headers.get("Range", "")
        self.requests.append((key, asked))
        zipped = key.removesuffix(".CHECKSUM")
        if not self._there(zipped):
            return web.Response(
                status=404, text="<Error><Code>NoSuchKey</Code></Error>", content_type="application/xml"
            )
        body = await asyncio.to_thread(self._file, zipped, self.replaced.get(zipped, 0))
        if key != zipped:
            digest = sha256(body).hexdigest()
            if zipped in self.wrong_checksums:
                digest = digest[::-1]
            return web.Response(text=f"{digest}  {zipped.rpartition('/')[2]}\n", content_type="text/plain")
        etag = self._etag(key)
        start = 0
        if asked.startswith("bytes=") and request.headers.get("If-Range", f'"{etag}"') == f'"{etag}"':
            start = int(asked.removeprefix("bytes=").partition("-")[0])
            if start >= len(body):
                return web.Response(status=416, headers={"Content-Range": f"bytes */{len(body)}"})
        headers = {"ETag": f'"{etag}"', "Accept-Ranges": "bytes", "Content-Length": str(len(body) - start)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        response = web.StreamResponse(status=206 if start else 200, headers=headers)
        response.content_type = "application/zip"
        await response.prepare(request)
        if (cut := self.breaks.pop(key, None)) is not None and request.transport is not None:
            await response.write(body[start : start + cut])
            request.transport.close()
            return response
        await response.write(body[start:])
        await response.write_eof()
        return response

    def content(self, key: str) -> bytes:
        """The zip under a key, as it is served now."""
        return self._file(key, self.replaced.get(key, 0))

    def _make(self, key: str, number: int) -> bytes:
        found = self._place(key)
        if found is None:
            raise KeyError(key)
        market, _, kind, rest = found
        symbol = rest.partition("/")[0]
        instrument = self._universe.get(market, symbol)
        start, end = _period_of(key)
        if kind == "fundingRate":
            lines = [_FUNDING_HEADER, *settled_history(self._universe, instrument, start, end)]
        else:
            lines = self._klines(instrument, rest.split("/")[1].replace("mo", "M"), start, end)
        text = "".join(f"{line}\n" for line in lines)
        packed = io.BytesIO()
        name = key.rpartition("/")[2].replace(".zip", ".csv")
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.comment = str(number).encode() if number else b""  # the same rows, and other bytes
            info = zipfile.ZipInfo(name, _ZIP_DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, text)
        return packed.getvalue()

    def _klines(self, instrument: Instrument, interval: str, start: int, end: int) -> list[str]:
        layout = grid(interval, instrument.market)
        if layout is None:
            raise KeyError(interval)
        futures = instrument.market is not Market.SPOT
        lines = [_HEADER] if futures and start >= _HEADERS_MS else []
        found = self._universe.opens(instrument, layout, start, end - 1)
        for page in self._universe.pages(instrument, layout, found):
            numbers: Numbers = page.numbers
            if not futures and start >= _MICROSECONDS_MS:
                numbers = numbers._replace(opens_ms=numbers.opens_ms * 1000, next_ms=numbers.next_ms * 1000)
            rows = rows_json(instrument.market, page.style, numbers)
            lines += rows[1:-2].replace('"', "").split("],[") if rows else []
        return lines


def _period_of(key: str) -> tuple[int, int]:
    """The time that a key's name tells, as [start, end)."""
    stem = key.removesuffix(".CHECKSUM").removesuffix(".zip")
    if "/daily/" in key:
        year, month, day = (int(part) for part in stem[-10:].split("-"))
        start = round(from_ms(0).replace(year=year, month=month, day=day).timestamp() * 1000)
        return start, start + DAY_MS
    year, month = (int(part) for part in stem[-7:].split("-"))
    return _month(12 * year + month - 1), _month(12 * year + month)
