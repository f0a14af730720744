"""REST bodies: klines, exchange info, funding, server time and errors.

Numbers come as strings, fields differ between markets and years, and unknown ones are passed over.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from math import isfinite

import msgspec

from bmacdb.errors import Malformed
from bmacdb.exchange.decoding import LATEST_MS, check_bar, decode, excerpt
from bmacdb.model import Candle, FundingRate, FundingSnapshot, Market, Source, SymbolInfo

__all__ = [
    "ExchangeInfo",
    "RestBar",
    "parse_error",
    "parse_exchange_info",
    "parse_funding_rates",
    "parse_klines",
    "parse_premium_index",
    "parse_server_time",
]


class RestBar(msgspec.Struct, frozen=True, gc=False):
    """A row of a klines page, closed or not: it is closed once the server's clock has passed `close_time_ms`."""

    candle: Candle
    close_time_ms: int


@dataclass(frozen=True, slots=True)
class ExchangeInfo:
    """A market's symbols, and the weight an address may use a minute (None: not said).

    `skipped` names the symbols whose entries did not parse; the others are not lost for them.
    """

    symbols: tuple[SymbolInfo, ...]
    weight_limit: int | None
    skipped: tuple[str, ...] = ()


class _Row(msgspec.Struct, array_like=True, gc=False):
    open_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    close_time: int
    quote_volume: float
    trades: int
    taker_base: float
    taker_quote: float


class _RateLimit(msgspec.Struct, gc=False):
    rateLimitType: str = ""
    interval: str = ""
    intervalNum: int = 0
    limit: int = 0


class _Info(msgspec.Struct, gc=False):
    symbols: list[msgspec.Raw]
    rateLimits: list[msgspec.Raw] = []


class _Filter(msgspec.Struct, gc=False):
    filterType: str = ""
    tickSize: Decimal | None = None
    stepSize: Decimal | None = None
    minNotional: Decimal | None = None  # spot
    notional: Decimal | None = None  # futures


class _Symbol(msgspec.Struct, gc=False):
    symbol: str
    baseAsset: str
    quoteAsset: str
    status: str | None = None
    contractStatus: str | None = None  # COIN-M
    contractType: str | None = None
    underlyingType: str | None = None
    marginAsset: str | None = None
    contractSize: Decimal | None = None
    onboardDate: int | None = None
    deliveryDate: int | None = None
    filters: list[_Filter] = []


class _Name(msgspec.Struct, gc=False):
    symbol: str


class _Time(msgspec.Struct, gc=False):
    serverTime: int


class _Error(msgspec.Struct, gc=False):
    code: int
    msg: str = ""


class _FundingRow(msgspec.Struct, gc=False):
    symbol: str
    fundingTime: int
    fundingRate: str
    markPrice: str = ""
    rateType: str = "Regular"


class _PremiumRow(msgspec.Struct, gc=False):
    symbol: str
    lastFundingRate: str | None = None
    nextFundingTime: int | None = None
    markPrice: str | None = None
    indexPrice: str | None = None


_ROWS = msgspec.json.Decoder(list[_Row], strict=False)
_INFO = msgspec.json.Decoder(_Info, strict=False)
_RATE_LIMIT = msgspec.json.Decoder(_RateLimit, strict=False)
_SYMBOL = msgspec.json.Decoder(_Symbol, strict=False)
_NAME = msgspec.json.Decoder(_Name)
_TIME = msgspec.json.Decoder(_Time, strict=False)
_ERROR = msgspec.json.Decoder(_Error, strict=False)
_FUNDING = msgspec.json.Decoder(list[_FundingRow], strict=False)
_PREMIUM = msgspec.json.Decoder(list[_PremiumRow] | _PremiumRow, strict=False)


def parse_klines(body: bytes, symbol: str) -> list[RestBar]:
    """The rows of a klines page, in the order given. Raises Malformed when any of them cannot be a bar."""
    bars = []
    for row in decode(_ROWS, body, f"the klines of {symbol}"):
        problem = check_bar(
            opened_ms=row.open_time,
            open=row.open,
            high=row.high,
            low=row.low,
            close=row.close,
            volumes=(row.volume, row.quote_volume, row.taker_base, row.taker_quote),
            trades=row.trades,
        )
        if problem is None and not row.open_time < row.close_time < LATEST_MS:
            problem = f"a bar that opened at {row.open_time} cannot close at {row.close_time}"
        if problem is not None:
            raise Malformed(f"a kline of {symbol} is wrong ({problem})")
        candle = Candle(
            symbol,
            row.open_time,
            row.open,
            row.high,
            row.low,
            row.close,
            row.volume,
            row.quote_volume,
            row.trades,
            row.taker_base,
            row.taker_quote,
            Source.REST,
        )
        bars.append(RestBar(candle, row.close_time))
    return bars


def parse_exchange_info(market: Market, body: bytes) -> ExchangeInfo:
    """A market's symbols and weight limit. Raises Malformed when the body as a whole does not parse."""
    info = decode(_INFO, body, f"the exchange info of {market}")
    symbols: dict[str, SymbolInfo] = {}
    skipped: list[str] = []
    for number, raw in enumerate(info.symbols):
        try:
            symbol = _symbol_info(market, decode(_SYMBOL, bytes(raw), "a symbol"))
        except Malformed:
            skipped.append(_name_of(bytes(raw), number))
            continue
        if symbol.symbol in symbols:
            skipped.append(symbol.symbol)
        else:
            symbols[symbol.symbol] = symbol
    if skipped and not symbols:
        raise Malformed(f"none of the {len(skipped)} symbols in the exchange info of {market} parses: {excerpt(body)}")
    return ExchangeInfo(tuple(symbols.values()), _weight_limit(info.rateLimits), tuple(skipped))


def _weight_limit(entries: list[msgspec.Raw]) -> int | None:
    for raw in entries:
        try:
            entry = decode(_RATE_LIMIT, bytes(raw), "a rate limit")
        except Malformed:
            continue  # others, as those of orders, are of no concern here
        if (entry.rateLimitType, entry.interval, entry.intervalNum) == (
            "REQUEST_WEIGHT",
            "MINUTE",
            1,
        ) and entry.limit > 0:
            return entry.limit
    return None


def _name_of(raw: bytes, number: int) -> str:
    try:
        return decode(_NAME, raw, "a symbol").symbol or f"#{number}"
    except Malformed:
        return f"#{number}"


def _symbol_info(market: Market, entry: _Symbol) -> SymbolInfo:
    status = entry.contractStatus if entry.status is None else entry.status
    if not entry.symbol or not status:
        raise Malformed("a symbol without a name or status")
    contract_type = entry.contractType
    if market is Market.SPOT and entry.underlyingType not in (None, "", "COIN"):
        contract_type = entry.underlyingType  # EQUITY and the like, as futures have it: spot has no contracts
    filters = {entry.filterType: entry for entry in reversed(entry.filters)}
    price, lot = filters.get("PRICE_FILTER", _Filter()), filters.get("LOT_SIZE", _Filter())
    lot_size, notional = lot.stepSize, None
    if market is Market.COIN_FUTURES:
        lot_size = entry.contractSize
    else:
        rule = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or _Filter()
        notional = rule.notional if rule.minNotional is None else rule.minNotional
    for value in (price.tickSize, lot_size, notional):
        if value is not None and not value.is_finite():
            raise Malformed(f"{value} is no trading rule")
    return SymbolInfo(
        symbol=entry.symbol,
        contract_type=contract_type,
        status=status,
        base_asset=entry.baseAsset,
        quote_asset=entry.quoteAsset,
        margin_asset=entry.marginAsset,
        price_tick=price.tickSize or Decimal(0),  # 0: the exchange names none
        lot_size=lot_size or Decimal(0),
        min_notional_value=notional,
        onboard_ms=_date(entry.onboardDate),
        delivery_ms=_date(entry.deliveryDate),
    )


def _date(ms: int | None) -> int | None:
    """A date as it may stand in the file: 0 is how the exchange says that there is none."""
    if ms is not None and not 0 <= ms < LATEST_MS:
        raise Malformed(f"{ms} is no date in milliseconds")
    return ms or None


def parse_premium_index(body: bytes, run_time_ms: int) -> tuple[FundingSnapshot, ...]:
    """The running funding rates at a run time. Where no funding is to come, as of delivery contracts, there is none
    (None), although the exchange may print a rate of "0.00000000"."""
    rows = decode(_PREMIUM, body, "the premium index")
    return tuple(
        FundingSnapshot(
            run_time_ms=run_time_ms,
            symbol=row.symbol,
            funding_rate=_optional(row.lastFundingRate, row.symbol) if row.nextFundingTime else None,
            next_funding_time_ms=_date(row.nextFundingTime),
            mark_price=_optional(row.markPrice, row.symbol),
            index_price=_optional(row.indexPrice, row.symbol),
        )
        for row in (rows if isinstance(rows, list) else [rows])
    )


def parse_funding_rates(body: bytes) -> tuple[FundingRate, ...]:
    """Settled funding rates, in the order given. Old ones have no mark price (None)."""
    rates = []
    for row in decode(_FUNDING, body, "the funding rates"):
        rate = _optional(row.fundingRate, row.symbol)
        time_ms = _date(row.fundingTime)
        if rate is None or time_ms is None:
            raise Malformed(f"a funding of {row.symbol} has no rate or time: {excerpt(body)}")
        rates.append(FundingRate(row.symbol, time_ms, row.rateType, rate, _optional(row.markPrice, row.symbol)))
    return tuple(rates)


def _optional(text: str | None, symbol: str) -> float | None:
    """A number that may be missing, which the exchange prints as ''."""
    if not text:
        return None
    try:
        value = float(text)
    except ValueError as error:
        raise Malformed(f"{excerpt(text.encode())} of {symbol} is no number") from error
    if not isfinite(value):
        raise Malformed(f"{value} of {symbol} is no number")
    return value


def parse_server_time(body: bytes) -> int:
    """The exchange's time in milliseconds."""
    time_ms = decode(_TIME, body, "the server time").serverTime
    if not 0 < time_ms < LATEST_MS:
        raise Malformed(f"the exchange gives its time as {time_ms}, which is no time in milliseconds")
    return time_ms


def parse_error(body: bytes) -> tuple[int, str] | None:
    """Code and message of an error body; None where it is none."""
    try:
        error = decode(_ERROR, body, "an error")
    except Malformed:
        return None
    return error.code, error.msg
