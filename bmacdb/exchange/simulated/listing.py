"""What the stand-in exchange lists: its symbols, when each traded, and how `exchangeInfo` tells of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b

from bmacdb.clock import from_ms, to_ms
from bmacdb.exchange.simulated.generate import Style
from bmacdb.interval import DAY_MS, HOUR_MS, MINUTE_MS
from bmacdb.model import Market

__all__ = ["NEVER_MS", "Instrument", "Life", "describe", "funding_hours", "list_market"]

NEVER_MS = 4133404800000
"""The delivery date of a perpetual: 2100-12-25."""

_FAMOUS = (
    "BTC ETH 币安人生 JUP SYRUP SOL BNB XRP DOGE ADA TRX LINK AVAX SUI LTC BCH DOT 0G 1000SHIB UNI AAVE NEAR ETC FIL "
    "APT ARB OP INJ ATOM XLM HBAR ICP TON TIA SEI ENA WLD LDO CRV MKR"
).split()
_QUARTER_DELIVERY_HOUR = 8


@dataclass(frozen=True, slots=True)
class Life:
    """One listing under a name: trading from `onboard_ms` until `end_ms` (None: no end in sight)."""

    onboard_ms: int
    end_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Instrument:
    """A symbol. Several lives where its name was used again; halts are stretches [from, until) without trading."""

    market: Market
    symbol: str
    base_asset: str
    quote_asset: str
    contract_type: str | None
    lives: tuple[Life, ...]
    halts: tuple[tuple[int, int], ...] = ()
    delivery_ms: int = NEVER_MS
    pending: bool = False
    forgets: bool = False  # klines answer for the present life alone, as futures do after a name was used again

    @property
    def margin_asset(self) -> str:
        return self.base_asset if self.market is Market.COIN_FUTURES else self.quote_asset

    @property
    def pair(self) -> str:
        return self.base_asset + self.quote_asset

    def life_at(self, now_ms: int) -> Life | None:
        """The life that has begun last; None before the first."""
        return next((life for life in reversed(self.lives) if life.onboard_ms <= now_ms), None)

    def status(self, now_ms: int) -> str | None:
        """As the exchange spells it; None while it is not listed at all."""
        spot = self.market is Market.SPOT
        if self.pending:
            return "PENDING_TRADING"
        life = self.life_at(now_ms)
        if life is None:
            return None
        if life.end_ms is not None and life.end_ms <= now_ms:
            return "BREAK" if spot else "SETTLING"
        if any(start <= now_ms < end for start, end in self.halts):
            return "HALT" if spot else "TRADING_HALT"
        return "TRADING"

    def contract_type_at(self, now_ms: int) -> str | None:
        """Delivery contracts move from NEXT_QUARTER to CURRENT_QUARTER as the one before them is delivered."""
        if self.contract_type != "QUARTER":
            return self.contract_type
        return "CURRENT_QUARTER" if _delivery_after(now_ms) >= self.delivery_ms else "NEXT_QUARTER"

    def changes(self) -> Iterator[int]:
        """The instants at which `describe` changes."""
        for life in self.lives:
            yield life.onboard_ms
            if life.end_ms is not None:
                yield life.end_ms
        for start, end in self.halts:
            yield start
            yield end


def _last_friday(year: int, month: int) -> int:
    first_after = datetime(year + month // 12, month % 12 + 1, 1, _QUARTER_DELIVERY_HOUR, tzinfo=UTC)
    day = first_after - timedelta(days=1)
    return to_ms(day - timedelta(days=(day.weekday() - 4) % 7))


def _deliveries(around_ms: int) -> list[int]:
    """Quarterly delivery dates from a year before to two years after."""
    year = from_ms(around_ms).year
    return [_last_friday(y, month) for y in range(year - 1, year + 3) for month in (3, 6, 9, 12)]


def _delivery_after(now_ms: int) -> int:
    return next(date for date in _deliveries(now_ms) if date > now_ms)


def _bases(count: int, *, ascii_only: bool) -> list[str]:
    famous = [base for base in _FAMOUS if base.isascii() or not ascii_only]
    return (famous + [f"X{number:04d}" for number in range(count)])[:count]


def _born(market: Market, symbol: str, start_ms: int) -> int:
    """An onboard date one to six years back, at a whole hour."""
    dice = int.from_bytes(blake2b(f"{market}{symbol}".encode(), digest_size=4).digest(), "little")
    return (start_ms - (400 + dice % 1800) * DAY_MS) // DAY_MS * DAY_MS + dice % 24 * HOUR_MS


def list_market(market: Market, count: int, *, start_ms: int, recent: int = 0) -> list[Instrument]:
    """The symbols of a market: `count` trading ones of its main trade type, and a few of every other kind.

    The last `recent` of the former were listed only hours before `start_ms`.
    """
    match market:
        case Market.SPOT:
            made = _list_spot(count, start_ms)
        case Market.USDT_FUTURES:
            made = _list_usdt_futures(count, start_ms)
        case Market.COIN_FUTURES:
            made = _list_coin_futures(count, start_ms)
    main = [_make(market, *item, start_ms=start_ms) for item in made[:count]]
    for place in range(max(count - recent, 1), count):
        hours = 3 + 2 * (count - place)
        onboard = (start_ms - hours * HOUR_MS) // MINUTE_MS * MINUTE_MS
        main[place] = Instrument(market, *made[place][:4], lives=(Life(onboard),))
    others = [_make(market, *item, start_ms=start_ms) for item in made[count:]]
    return main + others + (_quarters(market, start_ms) if market is not Market.SPOT else [])


_Item = tuple[str, str, str, str | None, str]


def _make(
    market: Market, symbol: str, base: str, quote: str, contract: str | None, state: str, *, start_ms: int
) -> Instrument:
    onboard = _born(market, symbol, start_ms)
    ended = (start_ms - 40 * DAY_MS) // DAY_MS * DAY_MS + 9 * HOUR_MS
    lives = (Life(onboard, ended if state == "ended" else None),)
    return Instrument(market, symbol, base, quote, contract, lives, pending=state == "pending")


def _list_spot(count: int, start_ms: int) -> list[_Item]:
    main: list[_Item] = [(f"{b}USDT", b, "USDT", None, "") for b in _bases(count, ascii_only=False)]
    others = [
        *((base, "USDT", "") for base in ("USDC", "FDUSD", "BTCUP", "BTCDOWN", "ETHBULL", "ETHBEAR")),
        *((base, "USDC", "") for base in ("BTC", "ETH", "SOL")),
        *((base, "BTC", "") for base in ("ETH", "SOL", "BNB")),
        *((base, "USDT", "ended") for base in ("LUNC1", "OLDCOIN")),
    ]
    return main + [(base + quote, base, quote, None, state) for base, quote, state in others]


def _list_usdt_futures(count: int, start_ms: int) -> list[_Item]:
    main: list[_Item] = [(f"{b}USDT", b, "USDT", "PERPETUAL", "") for b in _bases(count, ascii_only=False)]
    others = [
        *((base, "USDC", "PERPETUAL", "") for base in ("BTC", "ETH", "SOL")),
        ("ETH", "BTC", "PERPETUAL", ""),
        *((base, "USDT", "TRADIFI_PERPETUAL", "") for base in ("XAU", "TSLA", "NVDA")),
        *((base, "USDT", "PERPETUAL", "ended") for base in ("GONE", "SETTLED1", "LONGAGO")),
        ("SOON", "USDT", "PERPETUAL", "pending"),
    ]
    return main + [(base + quote, base, quote, contract, state) for base, quote, contract, state in others]


def _list_coin_futures(count: int, start_ms: int) -> list[_Item]:
    bases = _bases(count, ascii_only=True)
    main: list[_Item] = [(f"{b}USD_PERP", b, "USD", "PERPETUAL", "") for b in bases]
    return [*main, ("GONEUSD_PERP", "GONE", "USD", "PERPETUAL", "ended")]


def _quarters(market: Market, start_ms: int) -> list[Instrument]:
    """Delivery contracts of BTC and ETH, those to come included: each is listed when the one two before it ends."""
    quote = "USD" if market is Market.COIN_FUTURES else "USDT"
    dates = _deliveries(start_ms)
    first = dates.index(_delivery_after(start_ms))
    return [
        Instrument(
            market,
            f"{base}{quote}_{from_ms(dates[place]):%y%m%d}",
            base,
            quote,
            "QUARTER",
            (Life(dates[place - 2], dates[place]),),
            delivery_ms=dates[place],
        )
        for base in ("BTC", "ETH")
        for place in range(first - 1, min(first + 5, len(dates)))
    ]


def funding_hours(instrument: Instrument) -> int:
    """Hours between fundings: 8 for most, 4 or 1 for some; 0 for what has none."""
    if instrument.contract_type not in ("PERPETUAL", "TRADIFI_PERPETUAL"):
        return 0
    if instrument.base_asset in ("BTC", "ETH"):
        return 8
    return (8, 8, 8, 4, 8, 8, 1, 4)[sum(instrument.symbol.encode()) % 8]


def _tick(decimals: int) -> str:
    return f"{10.0**-decimals:.{decimals}f}" if decimals else "1"


def _filters(instrument: Instrument, style: Style) -> list[dict[str, object]]:
    tick, step = _tick(style.price_decimals), _tick(style.volume_decimals)
    if instrument.market is Market.SPOT:
        tick, step = (f"{10.0**-decimals:.8f}" for decimals in (style.price_decimals, style.volume_decimals))
    filters: list[dict[str, object]] = [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "4529764", "tickSize": tick},
        {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "90000000", "stepSize": step},
        {"filterType": "MARKET_LOT_SIZE", "minQty": step, "maxQty": "120000", "stepSize": step},
    ]
    if instrument.market is Market.SPOT:
        least = {"USDT": "5.00000000", "USDC": "5.00000000"}.get(instrument.quote_asset, "0.00010000")
        notional = {"minNotional": least, "applyMinToMarket": True, "maxNotional": "9000000.00000000"}
        filters.append({"filterType": "ICEBERG_PARTS", "limit": 100})
        filters.append({"filterType": "NOTIONAL", **notional, "applyMaxToMarket": False, "avgPriceMins": 5})
        filters.append({"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200})
        return filters
    filters.append({"filterType": "MAX_NUM_ORDERS", "limit": 200})
    if instrument.market is Market.USDT_FUTURES:
        least = {"BTC": "50", "ETH": "20"}.get(instrument.base_asset, "5")
        filters.append({"filterType": "MIN_NOTIONAL", "notional": "0.001" if instrument.quote_asset == "BTC" else least})
    percent = {"multiplierUp": "1.1500", "multiplierDown": "0.8500", "multiplierDecimal": "4"}
    filters.append({"filterType": "PERCENT_PRICE", **percent})
    return filters


def _spot_symbol(instrument: Instrument, style: Style, status: str) -> dict[str, object]:
    return {
        "symbol": instrument.symbol,
        "status": status,
        "baseAsset": instrument.base_asset,
        "baseAssetPrecision": 8,
        "quoteAsset": instrument.quote_asset,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "icebergAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": _filters(instrument, style),
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
    }


def _futures_symbol(instrument: Instrument, style: Style, status: str, now_ms: int) -> dict[str, object]:
    life = instrument.life_at(now_ms) or instrument.lives[0]
    coin = instrument.market is Market.COIN_FUTURES
    tradfi = instrument.contract_type == "TRADIFI_PERPETUAL"
    delivery = life.end_ms if life.end_ms is not None and instrument.delivery_ms == NEVER_MS else instrument.delivery_ms
    entry: dict[str, object] = {
        "symbol": instrument.symbol,
        "pair": instrument.pair,
        "contractType": instrument.contract_type_at(now_ms),
        "deliveryDate": delivery,
        "onboardDate": life.onboard_ms,
        "contractStatus" if coin else "status": status,
    }
    if coin:
        entry |= {"contractSize": style.contract_size, "equalQtyPrecision": 4}
    return entry | {
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": instrument.base_asset,
        "quoteAsset": instrument.quote_asset,
        "marginAsset": instrument.margin_asset,
        "pricePrecision": style.price_decimals + 1,  # not the tick size, as on the real one
        "quantityPrecision": style.volume_decimals,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "EQUITY" if tradfi else "COIN",
        "underlyingSubType": [],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10000,
        "filters": _filters(instrument, style),
        "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
    }


def describe(
    market: Market, instruments: list[tuple[Instrument, Style]], *, now_ms: int, weight_limit: int
) -> bytes:
    """The body of `exchangeInfo` at `now_ms`. (`serverTime` is when this was made, and may be old: the real one's is.)"""
    symbols = []
    for instrument, style in instruments:
        status = instrument.status(now_ms)
        gone = instrument.contract_type == "QUARTER" and instrument.delivery_ms <= now_ms  # a delivered one leaves the list
        if status is None or gone:
            continue
        if market is Market.SPOT:
            symbols.append(_spot_symbol(instrument, style, status))
        else:
            symbols.append(_futures_symbol(instrument, style, status, now_ms))
    limits = [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": weight_limit}]
    document: dict[str, object] = {"timezone": "UTC", "serverTime": now_ms, "rateLimits": limits, "exchangeFilters": []}
    if market is Market.SPOT:
        limits.append({"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 300_000})
    else:
        limits.append({"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1200})
        document["futuresType"] = "U_MARGINED" if market is Market.USDT_FUTURES else "COIN_MARGINED"
    document["symbols"] = symbols
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
