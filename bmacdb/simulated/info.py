"""`exchangeInfo` as the exchange writes it: the trading rules of every symbol of a market."""

from __future__ import annotations

import json

from bmacdb.model import Market
from bmacdb.simulated.generate import Style
from bmacdb.simulated.listing import NEVER_MS, Instrument

__all__ = ["describe"]


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
        filters.append(
            {"filterType": "MIN_NOTIONAL", "notional": "0.001" if instrument.quote_asset == "BTC" else least}
        )
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


def describe(market: Market, instruments: list[tuple[Instrument, Style]], *, now_ms: int, weight_limit: int) -> bytes:
    """The body of `exchangeInfo` at `now_ms`. (`serverTime` tells when it was made and grows old, as the real one.)"""
    symbols = []
    for instrument, style in instruments:
        status = instrument.status(now_ms)
        gone = (
            instrument.contract_type == "QUARTER" and instrument.delivery_ms <= now_ms
        )  # a delivered one leaves the list
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
