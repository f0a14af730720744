"""The REST half of the stand-in exchange: `/api/v3`, `/fapi/v1` and `/dapi/v1` with the rules of 2026.

What is asked is read and refused here; the bodies are made by modules of their own.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from aiohttp import web

from bmacdb.clock import Clock
from bmacdb.interval import DAY_MS, MINUTE_MS, Interval
from bmacdb.model import Market
from bmacdb.simulated.faults import (
    ChangingBar,
    FormingBar,
    Hang,
    Mishap,
    RestStatus,
    StaleKlines,
    StatusBlip,
    TruncatedBody,
    Unlisted,
)
from bmacdb.simulated.funding import funding_info, funding_rates, premium_index
from bmacdb.simulated.generate import Numbers, Style
from bmacdb.simulated.hosts import REST_PATHS
from bmacdb.simulated.info import describe
from bmacdb.simulated.limits import LIMITS, RequestLimit, Verdict, WeightLimit, weight_of
from bmacdb.simulated.listing import Instrument
from bmacdb.simulated.prices import premium_rows, price_rows
from bmacdb.simulated.refusals import Refusal, refused, too_many
from bmacdb.simulated.script import Script
from bmacdb.simulated.sessions import trading_schedule
from bmacdb.simulated.stats import Stats
from bmacdb.simulated.tickers import Row, book_tickers, day_tickers, price_tickers
from bmacdb.simulated.universe import Universe, grid

__all__ = ["RestApi"]

_M = TypeVar("_M", bound=Mishap)
_Rows = Callable[[Style, Numbers], list[list[object]]]

_FUTURES = frozenset({Market.USDT_FUTURES, Market.COIN_FUTURES})
_V2 = {Market.USDT_FUTURES: "/fapi/v2"}  # has the newer `ticker/price`, and nothing else here
_MOST_ROWS = {Market.SPOT: 1000, Market.USDT_FUTURES: 1500, Market.COIN_FUTURES: 1500}
_DEFAULT_ROWS = 500
_COIN_SPAN_MS = 200 * DAY_MS
_ILLEGAL = re.compile(r"[^\w.\-]")  # \w: there are Chinese symbols
_DIGITS = re.compile(r"[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class _Call:
    """A request on its way: the market whose endpoint was asked, and the parameters."""

    market: Market
    query: dict[str, str]
    now_ms: int

    @property
    def futures(self) -> bool:
        return self.market is not Market.SPOT

    def number(self, name: str) -> int | None:
        text = self.query.get(name)
        if text is None:
            return None
        if _DIGITS.fullmatch(text) is None:
            raise Refusal(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
        return int(text)

    def text(self, name: str) -> str:
        text = self.query.get(name)
        if not text:
            raise Refusal(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        if _ILLEGAL.search(text):
            raise Refusal(
                -1100, f"Illegal characters found in parameter '{name}'; legal range is '^[\\w\\-.]{{1,20}}$'."
            )
        return text


class RestApi:
    """Answers requests out of a universe, at the time of `clock`."""

    def __init__(
        self, universe: Universe, clock: Clock, stats: Stats, script: Script, *, weight_limit: int | None = None
    ) -> None:
        """`weight_limit` takes the place of the real ones."""
        self.universe, self.clock, self.stats, self.script = universe, clock, stats, script
        spot, futures = (WeightLimit(weight_limit or LIMITS[one]) for one in (Market.SPOT, Market.USDT_FUTURES))
        self.weights = {Market.SPOT: spot, Market.USDT_FUTURES: futures, Market.COIN_FUTURES: futures}
        self.funding_requests = RequestLimit(500, 5 * MINUTE_MS)
        self._info: dict[Market, tuple[int, int, bytes]] = {}
        everywhere, usdt = frozenset(Market), frozenset({Market.USDT_FUTURES})
        self._endpoints: dict[str, tuple[frozenset[Market], Callable[[_Call], bytes]]] = {
            "ping": (everywhere, lambda call: b"{}"),
            "time": (everywhere, lambda call: b'{"serverTime":%d}' % call.now_ms),
            "exchangeInfo": (everywhere, self._exchange_info),
            "klines": (everywhere, self._klines),
            "uiKlines": (frozenset({Market.SPOT}), self._klines),
            "continuousKlines": (_FUTURES, self._continuous_klines),
            "markPriceKlines": (_FUTURES, self._mark_price_klines),
            "indexPriceKlines": (_FUTURES, self._index_price_klines),
            "premiumIndexKlines": (_FUTURES, self._premium_index_klines),
            "premiumIndex": (_FUTURES, self._premium_index),
            "fundingRate": (_FUTURES, self._funding_rate),
            "fundingInfo": (_FUTURES, self._funding_info),
            "ticker/24hr": (everywhere, partial(self._tickers, day_tickers)),
            "ticker/price": (everywhere, partial(self._tickers, price_tickers)),
            "ticker/bookTicker": (everywhere, partial(self._tickers, book_tickers)),
            "tradingSchedule": (usdt, lambda call: trading_schedule(call.now_ms)),
        }

    def routes(self, markets: Iterable[Market]) -> list[web.RouteDef]:
        """What a host answers that serves these markets."""
        routes = []
        for market in markets:
            handler = partial(self.handle, market=market)
            routes.append(web.get(REST_PATHS[market] + "/{endpoint:.+}", handler))
            if market in _V2:
                routes.append(web.get(_V2[market] + "/{endpoint:ticker/price}", handler))
        return routes

    async def handle(self, request: web.Request, *, market: Market) -> web.StreamResponse:
        """Serve one request, unless the script has it otherwise."""
        endpoint, query = request.match_info["endpoint"], dict(request.query)
        script, now_ms, symbol = self.script, self.clock.now_ms(), query.get("symbol")
        if script.refuses_requests(now_ms) and request.transport is not None:
            request.transport.abort()
            raise web.HTTPServiceUnavailable
        blocked = script.blocked(now_ms)

        def strike(kind: type[_M]) -> _M | None:
            return script.strike(kind, now_ms=now_ms, market=market, symbol=symbol, endpoint=endpoint)

        if blocked is not None:
            response = refused(RestStatus(status=blocked, html=blocked == 403), now_ms)
        elif (failure := strike(RestStatus)) is not None:
            response = refused(failure, now_ms)
        else:
            if (hang := strike(Hang)) is not None:
                await self._hang(hang)
            response = self.answer(market, endpoint, query)
            if response.status == 200 and strike(TruncatedBody) is not None and isinstance(response.body, bytes):
                response.body = response.body[: len(response.body) * 2 // 3]
        self.stats.answered(response.status)
        return response

    async def _hang(self, hang: Hang) -> None:
        if hang.seconds is None:
            await asyncio.Event().wait()  # until the client goes, which cancels its handler
        else:
            await self.clock.sleep(hang.seconds)

    def answer(self, market: Market, endpoint: str, query: dict[str, str]) -> web.Response:
        """What the exchange answers now."""
        now_ms = self.clock.now_ms()
        markets, serve = self._endpoints.get(endpoint, (frozenset(), None))
        if serve is None or market not in markets:
            return web.Response(
                status=404, text="<html><body><h2>404 Not found</h2></body></html>", content_type="text/html"
            )
        call = _Call(market, query, now_ms)
        verdict = self._charge(call, endpoint)
        headers = {"X-MBX-USED-WEIGHT-1M": str(self.weights[market].used)}
        if endpoint in ("fundingRate", "fundingInfo"):
            headers = {}  # their limit is one of requests, told by no header
        if verdict.status != 200:
            return too_many(self.weights[market].limit, verdict, now_ms, headers)
        try:
            body, status = serve(call), 200
        except Refusal as refusal:
            body = json.dumps({"code": refusal.code, "msg": refusal.message}, ensure_ascii=False).encode()
            status = refusal.status
        return web.Response(body=body, status=status, content_type="application/json", headers=headers)

    def _charge(self, call: _Call, endpoint: str) -> Verdict:
        limit = call.query.get("limit", "")
        rows = int(limit) if _DIGITS.fullmatch(limit) else _DEFAULT_ROWS
        symbols = 1 if "symbol" in call.query else None
        if "symbols" in call.query:
            symbols = call.query["symbols"].count(",") + 1
        weight = weight_of(call.market, endpoint, limit=rows, symbols=symbols)
        verdict = self.weights[call.market].charge(weight, call.now_ms)
        if verdict.status == 200 and endpoint in ("fundingRate", "fundingInfo"):
            return self.funding_requests.charge(call.now_ms)
        return verdict

    def _instrument(self, call: _Call) -> Instrument:
        return self._named(call, call.text("symbol"))

    def _named(self, call: _Call, symbol: str) -> Instrument:
        instrument = self.universe.find(symbol, futures=call.futures)
        if instrument is None or (instrument.status(call.now_ms) is None):
            raise Refusal(-1121, "Invalid symbol.")
        return instrument

    def _wanted(self, call: _Call) -> list[Instrument] | None:
        """What `symbol` names, or on spot `symbols`; None where neither is given."""
        if "symbol" in call.query:
            if call.market is Market.SPOT and "symbols" in call.query:
                raise Refusal(-1128, "Combination of optional parameters invalid.")
            return [self._instrument(call)]
        if call.market is not Market.SPOT or "symbols" not in call.query:
            return None
        try:
            names = json.loads(call.query["symbols"])
            if not names or not all(isinstance(name, str) and not _ILLEGAL.search(name) for name in names):
                raise ValueError(names)
        except (ValueError, TypeError):
            legal = '^\\[("[\\w\\-._&&[^a-z]]{1,50}"(,"[\\w\\-._&&[^a-z]]{1,50}"){0,}){0,1}\\]$'
            message = f"Illegal characters found in parameter 'symbols'; legal range is '{legal}'."
            raise Refusal(-1100, message) from None
        return [self._named(call, name) for name in names]

    def _exchange_info(self, call: _Call) -> bytes:
        market = call.market
        wanted = self._wanted(call) if market is Market.SPOT else None  # futures take no parameter here
        if wanted is not None:
            return self._describe(call, wanted)
        instruments = self.universe.instruments(market)
        version, until_ms, body = self._info.get(market, (-1, 0, b""))
        if version != self.universe.version or call.now_ms >= until_ms:
            changes = [change for one in instruments for change in (*one.changes(), one.delivery_ms)]
            until_ms = min((change for change in changes if change > call.now_ms), default=1 << 62)
            body = self._describe(call, instruments)
            self._info[market] = (self.universe.version, until_ms, body)
        return self._misreport(call, body)

    def _misreport(self, call: _Call, body: bytes) -> bytes:
        """Exchange info as the script has it."""
        wrong = {
            one.symbol: mishap
            for one in self.universe.instruments(call.market)
            if (mishap := self.script.listed_wrong(call.now_ms, call.market, one.symbol)) is not None
        }
        if not wrong:
            return body
        document = json.loads(body)
        entries = []
        for entry in document["symbols"]:
            mishap = wrong.get(entry["symbol"])
            if isinstance(mishap, StatusBlip):
                word = "contractStatus" if "contractStatus" in entry else "status"
                usual = "TRADING_HALT" if call.futures else "BREAK"
                entry[word] = (mishap.status or usual) if entry[word] == "TRADING" else entry[word]
            if not isinstance(mishap, Unlisted):
                entries.append(entry)
        return json.dumps(document | {"symbols": entries}, ensure_ascii=False, separators=(",", ":")).encode()

    def _describe(self, call: _Call, instruments: Sequence[Instrument]) -> bytes:
        pairs = [(one, self.universe.style(one, one.life_at(call.now_ms) or one.lives[0])) for one in instruments]
        return describe(call.market, pairs, now_ms=call.now_ms, weight_limit=self.weights[call.market].limit)

    def _tickers(self, make: Callable[[Universe, Sequence[Instrument], int], list[Row]], call: _Call) -> bytes:
        wanted = self._wanted(call)
        if wanted is None:
            pair = call.query.get("pair")  # of COIN-M alone
            trading = self.universe.trading(call.market, call.now_ms)
            wanted = [one for one in trading if pair is None or one.pair == pair]
        rows = make(self.universe, wanted, call.now_ms)
        single = "symbol" in call.query and call.market is not Market.COIN_FUTURES
        return json.dumps(rows[0] if single else rows, ensure_ascii=False, separators=(",", ":")).encode()

    def _klines(self, call: _Call) -> bytes:
        return self._page(call, self._instrument(call))

    def _continuous_klines(self, call: _Call) -> bytes:
        return self._page(call, self._contract(call, call.text("contractType")))

    def _index_price_klines(self, call: _Call) -> bytes:
        return self._page(call, self._contract(call, "PERPETUAL"), price_rows)

    def _mark_price_klines(self, call: _Call) -> bytes:
        return self._page(call, self._instrument(call), price_rows)

    def _premium_index_klines(self, call: _Call) -> bytes:
        return self._page(call, self._instrument(call), partial(premium_rows, now_ms=call.now_ms))

    def _contract(self, call: _Call, contract_type: str) -> Instrument:
        instrument = self.universe.contract(call.text("pair"), contract_type, call.now_ms)
        if instrument is None:
            raise Refusal(-4144, "Invalid pair.")
        return instrument

    def _page(self, call: _Call, instrument: Instrument, rows: _Rows | None = None) -> bytes:
        """The bars that a call asks for: those of trades, or other `rows` that are made of them."""
        interval = grid(call.text("interval"), call.market)
        if interval is None:
            raise Refusal(-1120, "Invalid interval.")
        limit = call.number("limit")
        if limit is None:
            limit = _DEFAULT_ROWS
        if not 1 <= limit <= _MOST_ROWS[call.market]:
            raise Refusal(-1130, "Data sent for parameter 'limit' is not valid.")
        start_ms, end_ms = call.number("startTime"), call.number("endTime")
        if call.futures and start_ms is not None and end_ms is not None and start_ms > end_ms:
            raise Refusal(-1023, "Start time is greater than end time.")
        newest = start_ms is None
        if call.market is Market.COIN_FUTURES:
            start_ms, end_ms = _coin_window(start_ms, end_ms)
            newest = True  # and never the oldest, whatever was asked
        last_ms = call.now_ms if end_ms is None else min(end_ms, call.now_ms)
        if (stale := self._strike(StaleKlines, call, instrument)) is not None:
            last_ms = min(last_ms, interval.shift(interval.floor(call.now_ms - round(stale.seconds * 1000)), -1))
        body = self._read(instrument, interval, start_ms or 0, last_ms, rows, limit=limit, newest=newest)
        open_ms = interval.floor(call.now_ms)
        if last_ms < open_ms and self._strike(FormingBar, call, instrument) is not None:
            more = self._read(instrument, interval, open_ms, open_ms, rows, limit=1, newest=True)
            body = body if more == "[]" else more if body == "[]" else f"{body[:-1]},{more[1:]}"
        return body.encode()

    def _strike(self, kind: type[_M], call: _Call, instrument: Instrument) -> _M | None:
        return self.script.strike(kind, now_ms=call.now_ms, market=instrument.market, symbol=instrument.symbol)

    def _read(
        self,
        instrument: Instrument,
        interval: Interval,
        first_ms: int,
        last_ms: int,
        rows: _Rows | None,
        *,
        limit: int,
        newest: bool,
    ) -> str:
        now_ms = self.clock.now_ms()
        if instrument.forgets and (life := instrument.life_at(now_ms)) is not None:
            first_ms = max(first_ms, interval.floor(life.onboard_ms))
        found = self.universe.opens(instrument, interval, first_ms, last_ms, limit=limit, newest=newest)
        pages = self.universe.pages(instrument, interval, found)
        if rows is None:
            changing = self.script.strike(
                ChangingBar, now_ms=now_ms, market=instrument.market, symbol=instrument.symbol
            )
            return self.universe.body(instrument, pages, now_ms=now_ms, changing=changing)
        made = [row for page in self.universe.as_of(pages, now_ms) for row in rows(page.style, page.numbers)]
        return json.dumps(made, separators=(",", ":"))

    def _premium_index(self, call: _Call) -> bytes:
        if "symbol" in call.query:
            instruments = [self._instrument(call)]
        else:
            instruments = self.universe.trading(call.market, call.now_ms)
        rows = premium_index(self.universe, call.market, instruments, call.now_ms)
        single = "symbol" in call.query and call.market is Market.USDT_FUTURES
        return (rows[0] if single else f"[{','.join(rows)}]").encode()

    def _funding_rate(self, call: _Call) -> bytes:
        start_ms, end_ms, limit = call.number("startTime"), call.number("endTime"), call.number("limit")
        limit = (
            (200 if (start_ms, end_ms) == (None, None) and "symbol" not in call.query else 100)
            if limit is None
            else limit
        )
        if not 1 <= limit <= 1000:
            raise Refusal(-1130, "Data sent for parameter 'limit' is not valid.")
        if "symbol" in call.query or call.market is Market.COIN_FUTURES:
            instruments = [self._instrument(call)]
        else:
            instruments = self.universe.trading(call.market, call.now_ms)
        rows = funding_rates(
            self.universe,
            instruments,
            start_ms=start_ms,
            end_ms=end_ms,
            limit=limit,
            now_ms=call.now_ms,
            market=call.market,
        )
        return f"[{','.join(rows)}]".encode()

    def _funding_info(self, call: _Call) -> bytes:
        return f"[{','.join(funding_info(self.universe.trading(call.market, call.now_ms), call.now_ms))}]".encode()


def _coin_window(start_ms: int | None, end_ms: int | None) -> tuple[int | None, int | None]:
    if start_ms is not None and end_ms is not None and end_ms - start_ms > _COIN_SPAN_MS:
        raise Refusal(-1130, "Data sent for parameter 'startTime' is not valid: more than 200 days before endTime.")
    if start_ms is not None and end_ms is None:
        end_ms = start_ms + _COIN_SPAN_MS
    return start_ms, end_ms
